"""`onboard customer`: what is shown of one customer, what is erased, and what is exported."""

import errno
import hashlib
import json
from pathlib import Path

import pytest

from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.wiring.os_user import os_user
from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs


def imported(desk: Desk) -> str:
    """The id of a customer whose row waits."""
    (row,) = customers(1)
    assert desk.onboard("import", desk.list_of([row])).code == 0
    return row["customer_id"]


def test_a_customer_is_shown_with_its_sessions_and_what_they_cost_and_nothing_personal(desk: Desk, played: Played):
    listed = customers(1)
    assert desk.onboard("run", desk.list_of(listed)).code == 0
    (who,) = (row["customer_id"] for row in listed)
    facts = desk.onboard("customer", "show", who, "--json").facts
    (session,) = facts["sessions"]
    assert (session["because"], session["state"], session["messages"][0]["state"]) == ("first", "waiting", "sent")
    assert (facts["credits"], facts["messages"]["counted"], facts["jobs"][0]["state"]) == (
        {session["account"]: 1},
        1,
        "invited",
    )
    shown = desk.onboard("customer", "show", who)
    assert shown.code == 0
    assert session["reference"] in shown.out
    assert " on batch 1: " not in shown.out  # what was done to all rows of the list
    said = shown.out + str(facts)
    assert listed[0]["email"] not in said
    assert not any(token in said for token in played.tokens)


def test_an_unknown_customer_is_refused(desk: Desk):
    ended = desk.onboard("customer", "show", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no customer with that id" in ended.err


def test_a_customer_is_erased_with_a_proof_that_the_audit_log_knows(desk: Desk, played: Played):
    who, other = (row["customer_id"] for row in customers(2))
    assert desk.onboard("run", desk.list_of(customers(2))).code == 0
    ended = desk.onboard("customer", "erase", who, "--reason", "request 17", "--out", "proof.json", "--yes")
    assert ended.code == 0, ended.err
    proof = (desk.path / "proof.json").read_bytes()
    digest = hashlib.sha256(proof).hexdigest()
    assert f"proof: sha256 {digest}" in ended.out
    facts = json.loads(proof)
    assert (facts["customer"], facts["reason"], facts["erased"]["persons"]) == (who, "request 17", 1)
    assert facts["erased"]["links and tokens"] == 1
    (entry,) = desk.audited("customer erase")
    assert (entry["subject"], digest in entry["reason"]) == (f"customer {who}", True)
    assert (desk.path / "proof.json").stat().st_mode & 0o077 == 0
    assert desk.onboard("customer", "show", who, "--json").facts["erased"]
    assert not desk.onboard("customer", "show", other, "--json").facts["erased"]
    again = desk.onboard("customer", "erase", who, "--json", "--yes")
    assert set(again.facts["erased"].values()) == {0}
    assert desk.onboard("customer", "erase", who, "--out", "proof.json", "--yes").code == 2


@needs("keys")
def test_with_another_digest_key_no_first_customer_is_erased_and_no_first_address_suppressed(desk: Desk):
    (row,) = customers(1)
    assert desk.onboard("import", desk.list_of([row])).code == 0
    key = desk.path / "onboarding-digest.key"
    own = key.read_text()
    key.write_text(new_key())

    erased = desk.onboard("customer", "erase", row["customer_id"], "--yes")
    suppressed = desk.onboard("suppress", "vita@example.com")

    assert (erased.code, suppressed.code, suppressed.err) == (2, 2, erased.err)
    assert "encryption.digest_key: the customers are known by the key " in erased.err
    assert desk.onboard("suppress", "--list", "--json").facts["suppressed"] == []
    wrong = key.read_text()
    key.write_text(own)
    assert desk.onboard("customer", "show", row["customer_id"], "--json").facts["erased"] is False
    key.write_text(wrong)  # and where the right one is lost
    assert desk.onboard("keys", "rotate").code == 0
    assert desk.onboard("suppress", "vita@example.com").code == 0


@needs("keys")
def test_with_another_digest_key_no_erased_customer_comes_back_and_none_is_erased(desk: Desk):
    who, other = (row["customer_id"] for row in customers(2))
    assert desk.onboard("import", desk.list_of(customers(2))).code == 0
    assert desk.onboard("customer", "erase", who, "--yes").code == 0
    (desk.path / "onboarding-digest.key").write_text(new_key())

    ended = desk.onboard("import", "customers.csv", "--again")

    assert ended.code == 2
    assert "encryption.digest_key: 1 erased customers are known by a key that is not in the ring" in ended.err
    erased = desk.onboard("customer", "erase", other, "--yes")
    assert (erased.code, erased.err) == (2, ended.err)
    assert "1 erased customers are known by a key" in desk.onboard("doctor").out
    assert "1 erased customer known by a key that is not in [enc" in desk.onboard("suppress", "--list").out
    forgotten = desk.onboard("suppress", "--forget-unknown", "--yes", "--json").facts
    assert (forgotten["forgotten"], forgotten["forgotten_customers"]) == (0, 1)
    (entry,) = desk.audited("suppress")
    assert (entry["subject"], entry["count"]) == ("erased customers", 1)
    assert desk.onboard("keys", "rotate").code == 0  # the customers who are left are known by the key that is gone
    assert desk.onboard("import", "customers.csv", "--again", "--json").facts["rows"]["rejected"] == 0


def test_an_erased_customer_comes_back_only_if_it_is_allowed(desk: Desk):
    rows = customers(2)
    who = rows[0]["customer_id"]
    assert desk.onboard("import", desk.list_of(rows)).code == 0
    assert desk.onboard("customer", "erase", who, "--yes").code == 0
    again = desk.list_of([{**row, "purpose": "again"} for row in rows], "again.csv")
    checked = desk.onboard("check", again, "--json")
    assert (checked.code, checked.facts["rows"]["rejected"]) == (1, 1)
    assert "erased on request" in checked.out
    assert desk.onboard("import", again, "--strict").code == 2
    imported = desk.onboard("import", again, "--json")
    assert (imported.code, imported.facts["rows"]["rejected"]) == (1, 1)
    (line,) = (line for line in desk.onboard("report", "latest").table if line["state"] == "rejected")
    assert line["error"] == "rejected: customer_id: the customer was erased on request"
    assert line["action"] == "leave the row out; or use --allow-erased to bring the customer back"
    assert desk.onboard("check", again, "--allow-erased").code == 0
    assert desk.onboard("import", again, "--allow-erased", "--again").code == 0
    entries = desk.audited("import")
    assert [entry["subject"] for entry in entries if "brought back" in entry["reason"]] == [f"customer {who}"]
    assert not desk.onboard("customer", "show", who, "--json").facts["erased"]


def test_an_id_under_which_nothing_is_stored_is_not_erased_by_mistake(desk: Desk):
    ended = desk.onboard("customer", "erase", "nobody", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "nothing is stored under that id" in ended.err
    assert desk.onboard("customer", "erase", "nobody", "--unknown", "--yes").code == 0
    listed = desk.list_of([{"customer_id": "nobody", "email": "n@example.com", "country": "DE"}])
    assert desk.onboard("import", listed).code == 1


@pytest.mark.parametrize("command", ["erase", "export"])
def test_where_an_id_that_is_unknown_was_not_looked_for_is_said(desk: Desk, command: str):
    who = imported(desk)
    desk.sql("INSERT INTO uploaded_part (list_id, what, number, encrypted) VALUES (7, 'list', 0, x'00')")
    desk.sql("UPDATE batch SET imported_at = NULL")
    ended = desk.onboard("customer", command, "nobody")
    assert ended.code == 2
    assert "not searched: uploaded list 7, rows of batch 1 that are not imported yet" in ended.err
    assert desk.onboard("customer", command, who, *(["--yes"] if command == "erase" else [])).code == 0


@pytest.mark.parametrize(
    "waits",
    [
        "INSERT INTO uploaded_part (list_id, what, number, encrypted) VALUES (7, 'list', 0, x'00')",
        "UPDATE batch SET imported_at = NULL",
    ],
)
def test_who_may_be_in_a_list_that_waits_is_kept_out_of_it_without_more(desk: Desk, waits: str):
    imported(desk)
    desk.sql(waits)
    ended = desk.onboard("customer", "erase", "nobody", "--yes")
    assert ended.code == 0
    assert "nothing is stored under that id (not searched: " in ended.err
    assert "no list brings it in from now on" in ended.err
    assert "ID: it looks like" in desk.onboard("customer", "erase", "ona@example.com", "--yes").err
    listed = desk.list_of([{"customer_id": "nobody", "email": "n@example.com", "country": "DE"}], "later.csv")
    assert desk.onboard("import", listed, "--json").facts["rows"]["rejected"] == 1


def test_who_is_only_in_rows_that_were_left_out_is_exported_and_erased_again_without_more(desk: Desk):
    listed = desk.list_of([{"customer_id": "C-9", "email": "no address", "country": "DE"}])
    assert desk.onboard("import", listed).code == 1
    exported = desk.onboard("customer", "export", "C-9", "--json")
    assert (exported.code, [row["row"] for row in exported.facts["rows_left_out"]]) == (0, [2])
    for _ in range(2):
        assert desk.onboard("customer", "erase", "C-9", "--yes").code == 0
    assert desk.onboard("customer", "erase", "nobody", "--unknown", "--yes").code == 0
    assert desk.onboard("customer", "export", "nobody", "--json").facts["erased"]
    assert desk.onboard("customer", "erase", "nobody", "--yes").code == 0


@pytest.mark.parametrize("who", ["ona@example.com", "+370 600 12345"])
def test_what_can_be_no_id_of_a_list_is_not_erased_and_not_kept_in_the_audit_log(desk: Desk, who: str):
    desk.onboard("import", desk.list_of(customers(1)))
    ended = desk.onboard("customer", "erase", who, "--unknown", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "ID: it looks like" in ended.err
    assert who not in str(desk.audited()) + ended.err


def test_nothing_is_erased_whose_proof_cannot_be_written(desk: Desk):
    who = imported(desk)
    ended = desk.onboard("customer", "erase", who, "--out", "no-such-folder/proof.json", "--yes")
    assert (ended.code, ended.err) == (2, "--out: no-such-folder/proof.json: No such file or directory\n")
    assert not desk.onboard("customer", "show", who, "--json").facts["erased"]


def test_a_proof_that_does_not_fit_on_the_disk_is_on_standard_output(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    who = imported(desk)

    def full(*_paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        ended = desk.onboard("customer", "erase", who, "--out", "proof.json", "--yes")
    assert (ended.code, "proof.json was not written" in ended.err) == (1, True)
    (entry,) = desk.audited("customer erase")
    assert hashlib.sha256(ended.out.encode()).hexdigest() in entry["reason"]


def test_an_export_has_all_for_the_person_to_read_and_as_json(desk: Desk, played: Played):
    rows = customers(1)
    who = rows[0]["customer_id"]
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    facts = desk.onboard("customer", "export", who, "--json").facts
    assert facts["person"]["email"] == rows[0]["email"]
    assert len(facts["sessions"]) == len(facts["messages"]) == 1
    assert desk.onboard("customer", "export", who, "--out", "export.txt").code == 0
    text = (desk.path / "export.txt").read_text("utf-8")
    assert f"  email: {rows[0]['email']}" in text
    assert (desk.path / "export.txt").stat().st_mode & 0o077 == 0
    assert not any(token in text + str(facts) for token in played.tokens)
    entries = desk.audited("customer export")
    assert len(entries) == 2
    assert desk.onboard("customer", "export", "nobody").code == 2


def test_what_the_provider_said_is_shown_only_when_it_is_asked_for(desk: Desk, played: Played):
    rows = customers(1)
    who = rows[0]["customer_id"]
    desk.onboard("run", desk.list_of(rows))
    assert "provider_words" not in desk.onboard("customer", "show", who, "--json").facts
    assert desk.onboard("customer", "show", who, "--provider-words", "--json").facts["provider_words"] == []
    (entry,) = desk.audited("customer show")
    assert entry["subject"] == f"customer {who}"


def test_without_a_file_the_proof_is_on_standard_output_and_its_hash_beside_it(desk: Desk):
    who = imported(desk)
    ended = desk.onboard("customer", "erase", who, "--reason", "request 2026-11-22/17", "--yes")
    assert ended.code == 0
    facts = json.loads(ended.out)
    assert (facts["customer"], facts["reason"]) == (who, "request 2026-11-22/17")
    assert facts["by"] == os_user().full
    assert hashlib.sha256(ended.out.encode()).hexdigest() in ended.err


@pytest.mark.parametrize("reason", ["asked by ona@example.com", "called from +370 600 12345"])
def test_a_reason_with_an_address_is_refused_before_anything_is_erased(desk: Desk, reason: str):
    who = imported(desk)
    ended = desk.onboard("customer", "erase", who, "--reason", reason, "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "the audit log keeps it" in ended.err
    assert '"kind": "individual"' in desk.onboard("customer", "export", who, "--json").out


def next_of(desk: Desk, who: str) -> dict[str, str]:
    moments = desk.onboard("customer", "show", who, "--json").facts["timeline"]
    (found,) = (one for one in moments if one["about"] == "next")
    return found


def test_what_comes_next_is_true_while_the_batch_is_paused_or_everything_is_stopped(desk: Desk):
    who = imported(desk)
    assert next_of(desk, who)["text"].endswith(" is asked for a session.")
    desk.onboard("pause", "1", "--reason", "wrong list")
    paused = next_of(desk, who)
    assert paused["text"].startswith("Next: nothing before batch 1 goes on, which is paused: paused by ")
    assert paused["then"] == "`onboard resume 1`"
    desk.onboard("stop")
    stopped = next_of(desk, who)
    assert stopped["text"].startswith("Next: nothing before everything goes on: everything was stopped by ")
    assert stopped["then"] == "`onboard resume --all`"


def test_what_comes_next_is_true_for_a_row_behind_the_pilot(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    condition = "finished >= 50% and bounced <= 3% within 4 hours"
    assert desk.onboard("import", name, "--first", "2", "--go-on-if", condition).code == 0
    behind = customers(10)[-1]["customer_id"]
    assert next_of(desk, behind)["text"].startswith("Next: nothing before the verdict on the pilot of batch 1")


def test_what_comes_next_is_true_while_the_account_has_used_up_its_credits(desk: Desk, played: Played):
    desk.change("[accounts.kyc]\n", "[accounts.kyc]\ncredits = 1\n")
    listed = customers(2)
    desk.onboard("run", desk.list_of(listed), "--patience", "1 s")
    report = desk.onboard("report", "latest", "--format", "csv").table
    (waits,) = (row for row in report if row["state"] == "waiting")
    assert waits["error"].startswith("account_stopped: kyc: the cap of 1 credit")
    found = next_of(desk, waits["customer_id"])
    assert found["text"].startswith("Next: nothing before kyc goes on: kyc is stopped: the cap of 1 credit is used up")
    assert "raise `credits`" in found["then"]
