"""`onboard audit`: lists, verifies and exports the audit log."""

import json
import re
import subprocess
import sys

import pytest

from onboarding_worker.core.foundation.keyring import new_key
from tests.deploy.compose_file import ROOT
from tests.desk.desk import DATABASE, Desk, customers

EXAMPLE = ROOT / "examples/check_audit_export.py"


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A desk on which somebody has imported a list, paused it, and cancelled it."""
    desk.onboard("import", desk.list_of(customers(3)))
    desk.onboard("pause", "1")
    desk.onboard("cancel", "1", "--yes")
    return desk


def tamper(desk: Desk, *statements: str) -> None:
    for statement in ("DROP TRIGGER audit_update", "DROP TRIGGER audit_delete", *statements):
        desk.sql(statement)


def test_it_shows_who_did_what(busy: Desk):
    found = busy.onboard("audit", "--json").facts["entries"]

    assert [(one["action"], one["subject"], one["count"], one["reason"]) for one in found] == [
        ("import", "batch 1", 1, "its import began"),
        ("import", "batch 1", 3, "imported"),
        ("pause", "batch 1", 3, "paused"),
        ("cancel", "batch 1", 3, "cancelled"),
    ]
    assert {"at", "actor", "action", "subject", "count", "reason"} <= found[0].keys()
    assert "cancel: batch 1, 3 rows (cancelled)" in busy.onboard("audit").out


@pytest.mark.parametrize(
    ("filters", "actions"),
    [
        (["--action", "pause"], ["pause"]),
        (["--subject", "batch 2"], []),
        (["--since", "1 hour", "--limit", "1"], ["cancel"]),
        (["--since", "2999-01-01"], []),
        (["--until", "2020-01-01T00:00Z"], []),
    ],
)
def test_it_shows_only_what_is_asked_for(busy: Desk, filters: list[str], actions: list[str]):
    ended = busy.onboard("audit", "--json", *filters)

    assert [one["action"] for one in ended.facts["entries"]] == actions


@pytest.mark.parametrize("text", ["yesterday", "9999-12-31T23:00-05:00", "0001-01-01T00:00+05:00"])
def test_a_time_that_cannot_be_read_is_refused_with_what_is_expected(busy: Desk, text: str):
    ended = busy.onboard("audit", "--since", text)

    assert ended.code == 2
    assert "or how long ago: 7 days" in ended.err


def test_since_longer_ago_than_the_calendar_is_the_whole_log(busy: Desk):
    shown = busy.onboard("audit", "--json", "--since", "999999999 days").facts["entries"]
    assert shown == busy.onboard("audit", "--json").facts["entries"]


def test_a_whole_log_is_verified_and_its_head_printed(busy: Desk):
    ended = busy.onboard("audit", "verify")
    head = ended.out.split("head ")[1].strip()

    assert ended.code == 0
    assert "4 entries checked: the log is whole" in ended.out
    assert head.startswith("4:")
    busy.onboard("suppress", "vita@example.com")
    assert busy.onboard("audit", "verify", "--head", head).code == 0


def test_a_changed_entry_ends_with_code_1_and_its_number(busy: Desk):
    tamper(busy, "UPDATE audit SET actor = 'rasa' WHERE number = 3")

    ended = busy.onboard("audit", "verify")
    facts = busy.onboard("audit", "verify", "--json").facts

    assert (ended.code, "entry 3 was changed" in ended.err) == (1, True)
    assert (facts["whole"], facts["problems"]) == (False, [ended.err.strip()])


def test_an_older_state_that_was_put_back_is_found_by_a_head_that_was_kept(busy: Desk):
    before = (busy.path / DATABASE).read_bytes()
    busy.onboard("suppress", "vita@example.com")
    head = busy.onboard("audit", "verify", "--json").facts["head"]
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (busy.path / name).unlink(missing_ok=True)
    (busy.path / DATABASE).write_bytes(before)

    assert busy.onboard("audit", "verify").code == 0
    ended = busy.onboard("audit", "verify", "--head", head)

    assert (ended.code, "its end was cut off" in ended.err) == (1, True)


def test_a_head_that_is_none_is_refused(busy: Desk):
    assert busy.onboard("audit", "verify", "--head", "4").code == 2


def test_an_export_can_be_checked_without_this_software(busy: Desk):
    ended = busy.onboard("audit", "export", "--out", "audit.jsonl")

    checked = subprocess.run(
        [sys.executable, str(EXAMPLE), str(busy.path / "audit.jsonl")], capture_output=True, text=True, check=True
    )

    assert checked.stdout.strip() == ended.lines[-1]
    assert "4 entries written; go on with --after 4" in ended.err


def test_an_export_goes_on_after_the_last_one(busy: Desk):
    busy.onboard("suppress", "vita@example.com")

    lines = busy.onboard("audit", "export", "--after", "4").out.splitlines()

    assert [json.loads(line)["action"] for line in lines] == ["suppress"]


def test_syslog_lines_have_the_same_entries(busy: Desk):
    plain = busy.onboard("audit", "export").out.splitlines()
    lines = busy.onboard("audit", "export", "--format", "syslog").out.splitlines()

    heads, bodies = zip(*(line.split("\ufeff") for line in lines), strict=True)
    assert list(bodies) == plain
    assert re.fullmatch(r"<109>1 \S+Z - onboarding-worker - audit - ", heads[0])


def test_an_export_after_an_entry_that_is_not_there_is_refused(busy: Desk):
    ended = busy.onboard("audit", "export", "--after", "99999", "--out", "audit.jsonl")
    assert ended.code == 1
    assert "another database, or an older state of it" in ended.err
    assert not (busy.path / "audit.jsonl").exists()


def test_a_changed_log_is_not_exported(busy: Desk):
    tamper(busy, "UPDATE audit_head SET hash = 'x'")

    ended = busy.onboard("audit", "export")

    assert (ended.code, ended.out) == (1, "")
    assert "onboard audit verify" in ended.err


def test_after_the_key_was_lost_a_person_may_accept_the_head(busy: Desk):
    (busy.path / "onboarding-digest.key").write_text(new_key())
    assert busy.onboard("audit", "verify").code == 1

    assert busy.onboard("audit", "accept", "--yes").code == 0

    assert busy.onboard("audit", "verify").code == 0
    assert busy.onboard("audit", "--action", "audit accept", "--json").facts["entries"][0]["subject"] == "audit head"


def test_a_check_of_a_list_without_the_keys_signs_nothing(desk: Desk):
    """Another key would have to be accepted by a person, and until then no entry would be sealed."""
    listed = desk.list_of(customers(1))
    keys = {"KEY": "onboarding.key", "DIGEST": "onboarding-digest.key"}
    for name, file in keys.items():
        desk.change(f'{{ file = "{file}" }}', f'{{ env = "{name}" }}')
    (desk.path / DATABASE).unlink()
    assert desk.onboard("db", "upgrade").code == 0  # an entry, which is not sealed: no key is there

    assert desk.onboard("check", listed).code == 0

    desk.environ |= {name: (desk.path / file).read_text() for name, file in keys.items()}
    assert desk.onboard("audit", "verify").code == 0
