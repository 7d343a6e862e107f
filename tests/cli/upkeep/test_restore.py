"""A database that was put back from a backup sends nothing before a person goes on, and knows again who was erased."""

import contextlib
import sqlite3

import pytest

from tests.desk.desk import DATABASE, Desk, Played, customers
from tests.suite.of_features import needs

pytestmark = needs("service_desk")  # its commands erase, and put erasures back


@pytest.fixture
def imported(desk: Desk) -> Desk:
    """Three customers who wait to be invited, and a journal."""
    desk.add('[privacy]\njournal = "onboarding.journal"\n')
    desk.list_of(customers(3))
    assert desk.onboard("import", "customers.csv").code == 0
    return desk


def back_up(desk):
    with (
        contextlib.closing(sqlite3.connect(desk.path / DATABASE)) as living,
        contextlib.closing(sqlite3.connect(desk.path / "monday.db")) as copy,
    ):
        living.backup(copy)


def restore(desk):
    for file in desk.path.glob(f"{DATABASE}*"):
        file.unlink()
    (desk.path / "monday.db").rename(desk.path / DATABASE)


def test_a_restored_database_stops_everything_until_what_happened_since_is_brought_back(imported: Desk, played: Played):
    back_up(imported)
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    assert imported.onboard("suppress", "box2@example.com").code == 0
    restore(imported)

    stopped = imported.onboard("run", "customers.csv")

    assert (stopped.code, "onboard customer reapply" in stopped.err) == (2, True)
    assert played.calls() == []
    assert "everything was stopped" in imported.onboard("status").out
    again = imported.onboard("customer", "reapply", "--json")
    assert (again.code, again.facts) == (0, {"erased": 1, "suppressed": 1, "unknown": {}, "damaged": 0})
    assert imported.onboard("customer", "reapply", "--json").facts["erased"] == 0
    assert "@" not in imported.onboard("customer", "export", "C-0001").out
    assert imported.onboard("resume", "--all").code == 0
    assert imported.onboard("run", "customers.csv").code == 1  # two rows are not invited
    states = {row["customer_id"]: row["state"] for row in imported.onboard("report", "1").table}
    assert states == {"C-0000": "invited", "C-0001": "cancelled", "C-0002": "failed"}
    assert len(played.calls()) == 1


def test_a_stop_in_the_backup_does_not_hide_that_it_is_older(imported: Desk, played: Played):
    assert imported.onboard("stop", "--reason", "upgrade").code == 0
    back_up(imported)
    assert imported.onboard("resume", "--all").code == 0
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    restore(imported)

    assert "older copy" in imported.onboard("status").out

    assert imported.onboard("resume", "--all").code == 0
    assert "everything was stopped" not in imported.onboard("status").out


def test_nobody_goes_on_with_what_has_not_been_seen(imported: Desk, played: Played):
    back_up(imported)
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    restore(imported)

    refused = imported.onboard("resume", "--all")

    assert (refused.code, "onboard customer reapply" in refused.err) == (2, True)
    assert "everything was stopped" in imported.onboard("status").out
    assert imported.onboard("resume", "--all").code == 0


@pytest.mark.parametrize("rest", [None, ""])
def test_a_journal_that_is_lost_is_said_and_not_all_is_well(imported: Desk, rest: str | None):
    back_up(imported)
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    restore(imported)
    journal = imported.path / "onboarding.journal"
    if rest is None:
        journal.unlink()
    else:
        journal.write_text(rest)

    for _ in range(2):
        assert "onboarding.journal is gone or shorter" in imported.onboard("status").err
    assert imported.onboard("customer", "reapply").code != 0
    assert imported.onboard("customer", "reapply", "onboarding.journal").code != 0


@needs("doctor")
def test_doctor_finds_an_older_copy_a_lost_journal_and_a_mark_that_cannot_be_written(imported: Desk):
    back_up(imported)
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    restore(imported)
    (imported.path / "onboarding.journal").write_text("")

    assert grades(imported) == ["failure", "failure", "ok"]

    # A file that can be written, in a directory that takes no other, whoever asks.
    imported.change('journal = "onboarding.journal"', 'journal = "/proc/self/comm"')
    assert grades(imported) == ["failure"]


def grades(desk: Desk) -> list[str]:
    found = desk.onboard("doctor", "--json").facts["findings"]
    return [one["grade"] for one in found if one["what"] == "journal"]


def test_a_database_that_was_not_restored_goes_on(imported: Desk):
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    assert imported.onboard("run", "customers.csv").code == 0
    assert imported.onboard("customer", "reapply").code == 0


@needs("doctor")
def test_without_a_journal_nothing_can_be_brought_back_and_doctor_asks_for_one(desk: Desk):
    desk.list_of(customers(1))
    assert desk.onboard("import", "customers.csv").code == 0
    assert desk.onboard("customer", "reapply").code == 2
    asked = {one["what"]: one["grade"] for one in desk.onboard("doctor", "--json").facts["findings"]}
    assert asked["journal"] == "warning"
    desk.add('[privacy]\njournal = "onboarding.journal"\n')
    asked = {one["what"]: one["grade"] for one in desk.onboard("doctor", "--json").facts["findings"]}
    assert asked["journal"] == "ok"


def test_a_damaged_line_and_a_key_that_is_gone_need_a_person(imported: Desk):
    assert imported.onboard("customer", "erase", "C-0001", "--yes").code == 0
    journal = imported.path / "onboarding.journal"
    digest = journal.read_text().split('"digest":"')[1][:64]
    other = journal.read_text().replace(digest, "00000000" + digest[8:])
    imported.write("other.journal", other + "cut off")
    ended = imported.onboard("customer", "reapply", "other.journal", "--json")
    assert (ended.code, ended.facts) == (1, {"erased": 0, "suppressed": 0, "unknown": {"00000000": 1}, "damaged": 1})
