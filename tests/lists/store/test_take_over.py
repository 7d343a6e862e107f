"""A sender that names an id first gets nothing of the customer whom a list brings later: the row is refused, until a
person takes the customer over. Then nothing that the sender has leads on."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.tables import Audit, CustomerRow, Job, SkippedLine, StableLink
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.incoming import EventKind, EventSender, Outcome
from onboarding_worker.core.model.states import BATCH, JobState
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.events.standing import NOT_ITS_CUSTOMER, Arrival
from onboarding_worker.events.store.event_status import EventStatuses
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.lists.known_customers import KnownChoices
from onboarding_worker.lists.store.batches import Batches
from tests.stored.shelf import WEEK, add_lines, customer, line

SIGNUP = EventSender("signup", frozenset(EventKind), links=True)
CRM = EventSender("crm", frozenset(EventKind), every_customer=True)
CLAIMED = Person(email="attacker@example.net", phone="+37060000666", first_name="Mal")
TRUE = Person(email="ona@example.org", first_name="Ona")


@pytest.fixture
def post(shelf):
    """Takes a request for Ona in; returns its receipt."""

    def make(sender=SIGNUP, *, id="1", person=CLAIMED):
        asked = line(2, customer("Ona", person=person, channel=Channel.NONE))
        arrival = Arrival(
            sender, "x", id, EventKind.REQUESTED, "Ona", "onboarding", shelf.clock(), (f"d{id}",), line=asked
        )
        return Inboxes(shelf.database, shelf.keyring).take([arrival], now=shelf.clock()).receipts[0]

    return make


def listed(shelf, *, wide=(), **how):
    """Imports a list of Ona; returns its batch and the refused rows."""
    batch = shelf.batch()
    lines = [line(2, customer("Ona", person=TRUE))]
    batches = Batches(shelf.database, shelf.keyring, wide=wide)
    return batch, add_lines(
        batches, batch, lines, priority=BATCH, now=shelf.clock(), choices=KnownChoices(**how)
    ).refused


def link(shelf, receipt) -> str:
    """The link that the sender is given who waits for its event's job."""
    found = EventStatuses(shelf.database, shelf.keyring).hand_out([(receipt.job_id, "signup")], now=shelf.clock())
    return found[receipt.job_id].link


def person(shelf) -> Person:
    row = shelf.row(CustomerRow)
    return decrypt_person(shelf.keyring, "Ona", row.encrypted)


def test_the_row_of_a_customer_whom_a_sender_has_requested_first_is_refused(shelf, post):
    post()
    batch, (refused,) = listed(shelf)

    assert refused.problems[0].problem == "first requested by sender signup"
    assert [row.customer_id for row in shelf.rows(SkippedLine, batch_id=batch)] == ["Ona"]
    assert shelf.rows(Job, batch_id=batch) == []
    assert person(shelf) == CLAIMED


def test_a_sender_that_reaches_every_customer_keeps_no_list_out(shelf, post):
    post(CRM, person=TRUE)
    _, refused = listed(shelf, wide=["crm"])
    assert refused == []


def test_who_is_taken_over_is_the_lists_with_the_lists_details_alone(shelf, post):
    post()
    batch, refused = listed(shelf, take_over=True)

    assert refused == []
    assert (shelf.row(CustomerRow).sender, person(shelf)) == ("", TRUE)
    told = [row.reason for row in shelf.rows(Audit) if row.subject == "customer Ona"]
    assert told[-1] == f"taken over from sender signup by batch {batch} row 2"


def test_the_sender_of_a_customer_who_was_taken_over_gets_no_link_however_it_asks(shelf, post):
    first = post()
    shelf.issue()
    assert link(shelf, first) == "https://verify.test/token-0001"
    listed(shelf, take_over=True)
    shelf.clock.advance(days=8)  # the old session is over
    shelf.issue()

    assert link(shelf, first) == ""
    for again in (post(), post(id="2")):  # the same event again, and another one
        assert (again.outcome, again.reason, again.job_id) == (Outcome.REFUSED, NOT_ITS_CUSTOMER, None)
    status = EventStatuses(shelf.database, shelf.keyring).of(first.id, "signup")
    assert (status.job, status.job_id) == (None, None)


def test_the_lists_row_gets_a_session_of_its_own_after_the_end_of_the_one_that_the_sender_has(shelf, post):
    post()
    shelf.issue()
    batch, _ = listed(shelf, take_over=True)
    assert shelf.issue() == []
    shelf.clock.advance(days=7, seconds=1)
    (job,) = shelf.issue()
    assert (job.batch_id, job.customer.person.email) == (batch, TRUE.email)


def test_the_lists_row_gets_a_session_of_its_own_at_once_where_the_provider_opens_one_early(shelf, post):
    post()
    shelf.issue()
    batch, _ = listed(shelf, take_over=True)
    shelf.policy = shelf.ruled()
    object.__setattr__(shelf.policy, "reissue_at", lambda expires_at: expires_at - WEEK)
    (job,) = shelf.issue()
    assert job.batch_id == batch


def test_nothing_that_was_to_leave_for_the_sender_leaves(shelf, post):
    receipt = post()
    listed(shelf, take_over=True)
    assert shelf.row(Job, id=receipt.job_id).state is JobState.CANCELLED
    (job,) = shelf.issue()
    assert job.id != receipt.job_id


@pytest.mark.both_databases
def test_our_own_link_is_made_anew(shelf, post):
    post()
    own = StableLinks("https://verify.example.com", timedelta(days=60))
    with shelf.database.write() as connection:
        before = own.ensure(connection, shelf.keyring, [("Ona", "onboarding")], now=shelf.clock())
    listed(shelf, take_over=True)
    assert shelf.rows(StableLink) == []
    with shelf.database.write() as connection:
        after = own.ensure(connection, shelf.keyring, [("Ona", "onboarding")], now=shelf.clock())
    assert before["Ona", "onboarding"].address != after["Ona", "onboarding"].address
