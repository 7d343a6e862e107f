"""The service desk's commands: find a customer, send the link again, open another session, correct an address."""

import io
import signal
import sys

import pytest

from tests.desk.desk import Desk, Played, customers
from tests.suite.waiting import wait_until


@pytest.fixture
def vita(desk: Desk, played: Played) -> dict[str, str]:
    """A customer who was invited an hour ago."""
    rows = customers(1)
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    desk.sql("UPDATE invitation SET sent_at = '2026-01-01 00:00:00'")
    return rows[0]


def test_a_customer_is_found_by_an_address_and_shown_masked(desk: Desk, vita):
    for text in (vita["email"].upper(), vita["customer_id"]):
        found = desk.onboard("customer", "find", text, "--json")
        assert [one["customer"] for one in found.facts["customers"]] == [vita["customer_id"]]
        assert vita["email"] not in found.out
    shown = desk.onboard("customer", "find", vita["email"])
    assert f"{vita['customer_id']}  {vita['email'][0]}…@" in shown.out
    assert "batch 1, row 2, onboarding: invited" in shown.out
    nobody = desk.onboard("customer", "find", "nobody@example.com")
    assert (nobody.code, nobody.out) == (1, "")


def test_the_history_of_a_customer_reads_as_sentences(desk: Desk, vita):
    shown = desk.onboard("customer", "show", vita["customer_id"]).out
    assert "asks for the customer, by email (row 2 of batch 1" in shown
    assert "opened a session. Its link works until" in shown
    assert "The email with the link left." in shown
    assert "-- now " in shown
    moments = desk.onboard("customer", "show", vita["customer_id"], "--json").facts["timeline"]
    assert moments[-1]["about"] == "next"


def test_the_same_link_leaves_again_beside_a_running_worker(desk: Desk, played: Played, vita):
    who = vita["customer_id"]
    working = desk.start("up", "--bind", "127.0.0.1:0")
    sent = desk.onboard("customer", "resend", who, "--reason", "call 4711", "--json")
    assert (sent.code, sent.facts["done"], sent.facts["channel"]) == (0, True, "email")
    again = desk.onboard("customer", "resend", who)
    assert (again.code, again.out) == (1, "")
    assert "with the link" in again.err or "being sent at this moment" in again.err
    refused = desk.onboard("customer", "resend", who, "--json")
    assert (refused.code, refused.facts["done"]) == (1, False)
    wait_until(lambda: len(played.sandbox.mailbox) == 2, "the link has arrived again")
    desk.end(working, signal.SIGTERM)
    mails = [mail for mail in played.sandbox.mailbox if vita["email"] in mail.recipients]
    assert len({mail.message_id for mail in mails}) == 2
    assert played.opened[who] == 1
    (entry,) = desk.audited("customer resend")
    assert (entry["subject"], entry["reason"]) == (f"customer {who}", "the link by email; call 4711")


def test_a_new_link_says_its_cost_and_needs_a_yes(desk: Desk, vita, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    who = vita["customer_id"]
    refused = desk.onboard("customer", "new-link", who, "--yes")
    assert refused.code == 1
    assert "gives no other link before the present one has ended" in refused.err
    assert "`onboard customer resend` sends" in refused.err
    desk.sql("UPDATE session SET state = 'expired'")
    asked = desk.onboard("customer", "new-link", who)
    assert asked.code == 2
    assert "this costs 1 credit at" in asked.err
    assert "session 2 of at most 4" in asked.err
    assert desk.onboard("customer", "new-link", who, "--yes", "--json").facts["session"] == 2
    assert "already" in desk.onboard("customer", "new-link", who, "--yes").err


def test_a_person_sends_the_same_link_to_a_corrected_address_that_no_log_has(desk: Desk, played: Played, vita):
    who = vita["customer_id"]
    wrong = desk.onboard("customer", "address", who, "--email", "vita@")
    assert wrong.code == 2
    assert "--email:" in wrong.err
    changed = desk.onboard("customer", "address", who, "--email", "Vita.New@example.com")
    assert changed.code == 0, changed.err
    assert "opens there until" in changed.out
    assert desk.onboard("customer", "resend", who).code == 1
    sent = desk.onboard("customer", "resend", who, "--same-link")
    assert sent.code == 0, sent.err
    assert "the link leaves by email to V…@example.com" in sent.out
    working = desk.start("up", "--bind", "127.0.0.1:0")
    wait_until(lambda: len(played.sandbox.mailbox) == 2, "the link has arrived at the new address")
    desk.end(working, signal.SIGTERM)
    assert set(played.message_ids) == {vita["email"], "Vita.New@example.com"}
    audit = str(desk.audited())
    assert "email changed" in audit
    assert "vita.new" not in audit.lower()
    assert desk.onboard("customer", "address", who).code == 2


def test_the_same_link_goes_to_a_corrected_address_at_once_where_the_configuration_says_so(desk: Desk, vita):
    desk.add('[follow_up]\ncorrected_address = "same-link"\n')
    who = vita["customer_id"]
    changed = desk.onboard("customer", "address", who, "--email", "vita.new@example.com")
    assert changed.code == 0, changed.err
    assert changed.out.startswith("email changed; the link leaves by email to v…@example.com\nat the old address")
    again = desk.onboard("customer", "address", who, "--email", "vita.newest@example.com", "--json").facts
    assert (again["done"], again["changed"]) == (True, ["email"])
    assert "waiting to leave already" in again["not_sent"]
    assert "old_link_opens_until" in again


def test_an_unknown_customer_is_refused(desk: Desk):
    for command in (["resend", "nobody"], ["new-link", "nobody", "--yes"], ["address", "nobody", "--email", "a@b.de"]):
        ended = desk.onboard("customer", *command)
        assert ended.code == 1
        assert "there is no customer with that id" in ended.err
