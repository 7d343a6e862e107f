"""Which customer is found, and what is shown and told of one."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import Attempt, CustomerRow, InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.case import wanted
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.features.service_desk.store.desks import AT_ONCE, desk_of, moments, sentences, told
from tests.stored.shelf import WEEK, Shelf, customer
from tests.stored.webhook_feed import APPROVED, WebhookFeed

ANOTHER = "Another may follow."


def test_a_customer_is_found_by_id_email_and_phone_with_masked_addresses(ona):
    finder = Finder(ona.database, ona.keyring)
    for text in ("Ona", " ONA@Example.org", "+370 600 00001", "0037060000001x"):
        found = finder.find(wanted(text))
        assert [one.customer_id for one in found] == ([] if text.endswith("x") else ["Ona"])
    for country in ("LT", ""):
        assert [one.customer_id for one in finder.find(wanted("8 600 00001", country))] == ["Ona"]
    assert finder.find(wanted("8 600 00001", "DE")) == []
    (one,) = finder.find(wanted("Ona"))
    assert (one.email, one.phone, one.rows[0].state) == ("o…@example.org", "+370…01", "invited")


def test_customers_are_found_by_older_digest_keys_too(database, clock):
    before, after = new_key(), new_key()
    old = Shelf(database, Keyring([before], [before]), clock)
    old.add(customer("Ona"))
    ring = Keyring([before], [after, before])
    assert [one.customer_id for one in Finder(database, ring).find(wanted("ona@example.org"))] == ["Ona"]


def test_an_erased_customer_is_found_by_id_only(ona):
    SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="", forget_suppressed=False, now=ona.clock())
    finder = Finder(ona.database, ona.keyring)
    assert finder.find(wanted("ona@example.org")) == []
    assert (ona.row(CustomerRow).email_digest, ona.row(CustomerRow).phone_digest) == (None, None)
    assert [one.erased for one in finder.find(wanted("Ona"))] == [True]


def test_a_webhook_is_shown_as_one_of_the_sessions_account_whatever_account_it_is_kept_under(ona):
    WebhookFeed(ona).receive(APPROVED)
    ona.set(Webhook, source="account/a-peer-of-kyc")
    assert any(text.startswith("A webhook of kyc came") for text in sentences(ona))
    assert not any(text.startswith("account/") for text in sentences(ona))


def test_a_history_says_what_happened_from_the_row_to_the_result(ona, desk, decide: Decisions):
    desk.resend("Ona", channel="email", reason="call 4711", now=ona.clock())
    ona.send()
    ona.clock.advance(minutes=5)
    WebhookFeed(ona).receive(APPROVED)
    decide.resolve(Which(ona.row(Job).batch_id, rows=read_rows("2")), Verdict.ABANDON, now=ona.clock())
    told_of_her = sentences(ona)
    batch = ona.row(Job).batch_id
    assert f"The list list.csv asks for the customer, by email (row 2 of batch {batch}, account kyc)." in told_of_her
    assert any(text.startswith("kyc opened a session. Its link works until 2026-11-27") for text in told_of_her)
    assert "The email with the link left." in told_of_her
    assert "Another email with the link left." in told_of_her
    assert any(text.endswith("the link by email; call 4711.") for text in told_of_her)
    assert any(text.startswith("A webhook of kyc came") for text in told_of_her)
    assert "Finished: approved." in told_of_her
    said = " ".join(told_of_her)
    assert "ona@example" not in said
    assert "token" not in said
    assert told_of_her.index("The email with the link left.") < told_of_her.index("Finished: approved.")


@pytest.mark.both_databases
def test_a_history_tells_of_no_call_that_was_not_made(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(CallResult(opened, shelf.clock(), None))
    assert shelf.row(Attempt).outcome == "not_sent"
    assert not any("was called" in text for text in sentences(shelf))


def test_a_history_tells_of_a_joined_row_and_of_what_comes_next(ona):
    batch = ona.row(Job).batch_id
    ona.add(customer("Ona"), batch=None)
    told_of_her = sentences(ona)
    assert any(f"row 2 of batch {batch} serves the customer now" in text for text in told_of_her)
    assert told_of_her[-1].startswith("Next: the session ends")
    assert ona.row(SessionRow).expires_at == ona.clock() + WEEK - timedelta(minutes=1)


def test_of_an_open_row_another_link_may_follow_and_of_a_cancelled_row_none(ona, decide: Decisions):
    assert sentences(ona)[-1] == f"Next: the session ends, if the customer does not finish. {ANOTHER}"
    decide.cancel(ona.row(Job).batch_id, now=ona.clock())
    assert sentences(ona)[-1] == "Next: the session ends, if the customer does not finish."


def test_of_an_erased_customer_no_other_link_follows(ona):
    SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="asked", forget_suppressed=False, now=ona.clock())
    assert ANOTHER not in " ".join(sentences(ona))


def test_the_row_that_takes_over_the_link_of_a_cancelled_list_may_get_another(ona, decide: Decisions):
    batch = ona.row(Job).batch_id
    ona.add(customer("Ona"), batch=None)
    decide.cancel(batch, now=ona.clock())
    ona.issue()
    assert ANOTHER in " ".join(sentences(ona))


def test_contact_details_are_shown_with_an_entry_in_the_audit_log(ona):
    contact = Finder(ona.database, ona.keyring).contact("Ona", now=ona.clock())
    assert contact is not None
    assert (contact.email, contact.name) == ("ona@example.org", "Ona Kazlauskas")
    assert told(ona) == ["contact details shown"]
    assert "ona@" not in repr(contact)


def test_a_history_says_when_a_session_was_replaced_and_not_when_it_was_read(ona):
    desk_of(ona, allowed_from=AT_ONCE).new_link("Ona", now=ona.clock())
    ona.issue()
    replaced_at = ona.clock()
    ona.clock.advance(hours=5)
    assert [one.at for one in moments(ona) if "superseded" in one.text] == [replaced_at]


def test_a_history_says_when_an_unsent_message_was_dropped_and_not_when_it_was_made_or_read(shelf, decide: Decisions):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    cancelled_at = shelf.clock.advance(hours=2)
    decide.cancel(batch, now=cancelled_at)
    shelf.clock.advance(hours=5)
    assert [one.at for one in moments(shelf) if "was dropped" in one.text] == [cancelled_at]


@pytest.mark.both_databases
def test_a_reminder_to_a_suppressed_address_is_not_said_to_leave_and_stands_where_that_was_decided(ona):
    due_at = ona.clock() + timedelta(days=1)
    (first,) = ona.rows(InvitationRow)
    with ona.database.write() as connection:
        values = dict(first._mapping) | {"id": new_id(due_at), "kind": "reminder-1", "state": "waiting"}
        connection.execute(sa.insert(InvitationRow).values(values | {"due_at": due_at, "sent_at": None}))
        complaint = SuppressionReason.COMPLAINT
        suppress(connection, ona.keyring, "email", "ona@example.org", complaint, "x", now=ona.clock())
    why = "the customer complained about a message"
    assert f"Next: a reminder by email is dropped: {why}." in sentences(ona)
    decided_at = ona.clock.advance(days=1)
    assert ona.claim_messages() == []
    ona.clock.advance(hours=1)
    (told_of_it,) = (one for one in moments(ona) if "reminder" in one.text)
    assert (told_of_it.at, told_of_it.text) == (decided_at, f"A reminder by email was not sent: {why}.")


def test_of_reminders_that_wait_only_as_many_are_to_come_as_the_cap_leaves(ona):
    """Ona has had the invitation; of her three reminders the first two may leave."""
    (first,) = ona.rows(InvitationRow)
    for number in (3, 1, 2):
        due_at = ona.clock() + timedelta(days=number)
        with ona.database.write() as connection:
            values = dict(first._mapping) | {"id": new_id(due_at), "kind": f"reminder-{number}", "state": "waiting"}
            connection.execute(sa.insert(InvitationRow).values(values | {"due_at": due_at, "sent_at": None}))
    shown = [one for one in moments(ona, contact=ContactPolicy(Caps(2, 3))) if "a reminder by email" in one.text]
    coming = [(one.at - ona.clock(), "is dropped" in one.text) for one in shown]
    assert coming == [(timedelta(days=1), False), (timedelta(days=2), False), (timedelta(days=3), True)]
