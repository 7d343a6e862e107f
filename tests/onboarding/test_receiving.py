"""Events come in: each is taken once, and becomes what docs/events.md says."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.customer_days import C, R, U, days
from tests.store.statements import statements
from worker.events import EventKind, Outcome
from worker.models import Batch, CustomerRow, Inbox, InvitationRow, Job, SessionRow
from worker.receiving import Receiver
from worker.report import status
from worker.states import InvitationState, JobState, SessionState
from worker.store.jobs import EVENT, PAUSED
from worker.store.sealing import ERASED, open_person
from worker.timestamps import written

from .events import at, cancelled, erased, event, requested, updated
from .world import LIMITED, customer

DEEP: list = []
for _ in range(40):
    DEEP = [DEEP]


@pytest.fixture
def inlet(make_on_both):
    """A world, and what takes its events."""

    def prepare(**how):
        world = make_on_both(**how)
        return world, Receiver(world.parts)

    return prepare


def outcomes(received):
    return [receipt.outcome.value for receipt in received.receipts]


async def test_a_request_becomes_a_job_of_the_days_batch_that_goes_first(inlet):
    world, receiver = inlet()
    received = receiver.receive([requested("C-1"), requested("C-2")])
    assert outcomes(received) == ["taken", "taken"]
    assert received.due == {("issue", "kyc")}
    batch = world.row(Batch)
    assert batch.name == f"events-{world.clock():%Y-%m-%d}"
    assert batch.imported_at == world.clock()
    rows = world.rows(Job)
    assert [(row.batch_id, row.row, row.customer_id, row.priority) for row in rows] == [
        (batch.id, 1, "C-1", EVENT),
        (batch.id, 2, "C-2", EVENT),
    ]
    assert [receipt.job_id for receipt in received.receipts] == [row.id for row in rows]
    assert {row.id for row in world.rows(Inbox)} == {receipt.id for receipt in received.receipts}
    await world.work()
    assert world.states() == {"invited": 2}


async def test_an_event_that_comes_again_is_a_duplicate_with_the_same_address(inlet):
    world, receiver = inlet()
    one = requested("C-1")
    first, again = receiver.receive([one, one]).receipts
    (later,) = receiver.receive([replace(one, data=dict(reversed(one.data.items())))]).receipts
    assert first.outcome is Outcome.TAKEN
    assert again == later
    assert (again.outcome, again.id, again.job_id) == (Outcome.DUPLICATE, first.id, first.job_id)
    assert len(world.rows(Job)) == 1


@pytest.mark.parametrize("change", [{"data": {"customer_id": "C-2", "email": "b@example.org"}}, {"occurred_at": at(1)}])
async def test_the_same_id_with_other_content_is_refused(inlet, change):
    world, receiver = inlet()
    one = requested("C-1")
    receiver.receive([one])
    (other,) = receiver.receive([replace(one, **change)]).receipts
    assert other.outcome is Outcome.REFUSED
    assert "source and id" in other.reason
    assert len(world.rows(Job)) == 1


def person(world, customer_id):
    row = world.row(CustomerRow, customer_id=customer_id)
    return open_person(world.parts.keyring, customer_id, row.sealed)


def problems(receipt):
    return {found.column: found.problem for found in receipt.problems}


# What is refused.


async def test_wrong_data_is_refused_with_each_column_and_no_value(inlet):
    world, receiver = inlet()
    data = {"customer_id": "C-1", "email": "not-an-address", "phnoe": "secret", "idenfy-kyc": {"nonsense": "secret"}}
    (receipt,) = receiver.receive([event(EventKind.REQUESTED, data)]).receipts
    assert (receipt.outcome, receipt.id) == (Outcome.REFUSED, None)
    assert set(problems(receipt)) == {"email", "phnoe", "idenfy-kyc.nonsense"}
    assert "not-an-address" not in repr(receipt)
    assert "secret" not in repr(receipt)
    assert "--" not in repr(receipt)  # the options of a command are of no use to who sends an event
    assert (world.rows(Inbox), world.rows(Job), world.rows(Batch)) == ([], [], [])


async def test_a_refused_event_keeps_no_other_of_its_lot_from_being_taken(inlet):
    world, receiver = inlet()
    received = receiver.receive([requested("C-1"), requested("C-2", email="wrong"), requested("C-3")])
    assert outcomes(received) == ["taken", "refused", "taken"]
    assert [row.row for row in world.rows(Job)] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "data", "column"),
    [
        (EventKind.CANCELLED, {"purpose": "onboarding"}, "customer_id"),
        (EventKind.CANCELLED, {"customer_id": "C-1", "email": "a@example.org"}, "email"),
        (EventKind.ERASED, {"customer_id": "C-1", "purpose": "loan"}, "purpose"),
        (EventKind.UPDATED, {"customer_id": "C-1", "account": "kyc"}, "account"),
        (EventKind.UPDATED, {"customer_id": "C-1", "kind": "company"}, "kind"),
        (EventKind.UPDATED, {"customer_id": "C-1", "idenfy-kyc.documents": ["PASSPORT"]}, "idenfy-kyc.documents"),
        (EventKind.UPDATED, {"customer_id": "C-1", "email": ""}, "email"),
        (EventKind.UPDATED, {"customer_id": "C-1", "phone": "12"}, "phone"),
        (EventKind.UPDATED, {"customer_id": "C-1"}, ""),
        (EventKind.REQUESTED, {"customer_id": "C-1", "email": "a@example.org", "invite_after": "soon"}, "invite_after"),
        # The link lives for seven days, and must have half a day left.
        (EventKind.REQUESTED, {"customer_id": "C-1", "email": "a@b.org", "invite_after": "157 hours"}, "invite_after"),
    ],
)
async def test_each_kind_says_which_column_it_cannot_take(inlet, kind, data, column):
    world, receiver = inlet()
    (receipt,) = receiver.receive([event(kind, data)]).receipts
    assert (receipt.outcome, set(problems(receipt))) == (Outcome.REFUSED, {column})
    assert world.rows(Inbox) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"source": "s" * 201},
        {"source": ""},
        {"id": "e" * 201},
        {"id": "e\x00"},
        {"data": {"customer_id": "C-1", "email": float("nan")}},
        {"data": {"customer_id": "C-1", 7: "x"}},
        {"data": {"customer_id": "C-1", "tags": "x" * (1 << 20)}},
        {
            "data": {
                "customer_id": "C-1",
                "idenfy-kyc": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
            }
        },
        {"data": "C-1"},
        {"occurred_at": at(1).replace(tzinfo=None)},
    ],
)
async def test_what_no_column_or_json_holds_is_refused_with_words(inlet, bad):
    world, receiver = inlet()
    received = receiver.receive([replace(requested("C-1"), **bad), requested("C-2")])
    assert outcomes(received) == ["refused", "taken"]
    assert received.receipts[0].reason
    assert [row.customer_id for row in world.rows(Job)] == ["C-2"]


async def test_an_event_that_the_database_refuses_is_refused_alone(inlet, caplog):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0)])
    world.set(CustomerRow, sealed=b"\x01spoilt-and-long-enough-to-be-one")
    received = receiver.receive([requested("C-2"), updated("C-1", 5, email="new@example.org"), requested("C-3")])
    assert outcomes(received) == ["taken", "refused", "taken"]
    assert "CannotOpen" in received.receipts[1].reason
    assert received.due == {("issue", "kyc")}
    assert len(world.rows(Inbox)) == 3
    assert "example.org" not in caplog.text


# Where its job is.


async def test_requests_of_the_next_day_have_a_batch_of_their_own(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1")])
    world.clock.advance(hours=24)
    receiver.receive([requested("C-2"), requested("C-3")])
    first, second = world.rows(Batch)
    assert first.name != second.name
    assert [(row.batch_id, row.row) for row in world.rows(Job)] == [(first.id, 1), (second.id, 1), (second.id, 2)]


async def test_who_signs_up_after_the_days_batch_was_cancelled_is_served_in_a_new_one(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1")])
    world.parts.decisions.cancel(world.row(Batch).id, now=world.clock())
    receiver.receive([requested("C-2"), requested("C-3")])
    first, second = world.rows(Batch)
    assert (second.digest, second.generation, second.name) == (first.digest, 2, f"{first.name}-2")
    assert [row.state for row in world.rows(Job)] == [JobState.CANCELLED, JobState.WAITING, JobState.WAITING]


async def test_requests_wait_while_the_days_batch_is_paused(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1")])
    batch = world.row(Batch).id
    world.parts.decisions.pause(batch, now=world.clock())
    received = receiver.receive([requested("C-2")])
    assert received.due == set()
    assert world.job("C-2").priority == EVENT + PAUSED
    world.parts.decisions.resume(batch, now=world.clock())
    assert world.job("C-2").priority == EVENT


async def test_a_request_for_a_customer_of_a_list_joins_its_row(inlet):
    world, receiver = inlet()
    world.add(customer("C-1"))
    received = receiver.receive([requested("C-1")])
    listed, own = world.rows(Job)
    assert (own.joins, received.receipts[0].job_id) == (listed.id, own.id)
    assert received.due == set()
    await world.work()
    assert len(world.senders["email"].messages) == 1


# In whatever order they come.


async def test_a_time_that_lies_ahead_counts_as_the_time_of_receipt(inlet):
    world, receiver = inlet()
    ahead = world.clock() + timedelta(days=400)
    receiver.receive([requested("C-1", of={"occurred_at": ahead})])
    assert world.row(Inbox).occurred_at == world.clock()
    assert world.row(CustomerRow).details_at == world.clock()


async def test_a_request_older_than_another_or_than_a_cancellation_is_ignored(inlet):
    world, receiver = inlet()
    received = receiver.receive([requested("C-1", 10, email="new@example.org"), requested("C-1", 5)])
    assert outcomes(received) == ["taken", "ignored"]
    assert received.receipts[1].id is not None
    assert person(world, "C-1").email == "new@example.org"
    received = receiver.receive([cancelled("C-2", 10), requested("C-2", 5), requested("C-2", 15)])
    assert outcomes(received) == ["taken", "ignored", "taken"]
    assert [row.customer_id for row in world.rows(Job)] == ["C-1", "C-2"]


async def test_a_list_that_is_imported_later_says_who_the_customer_is(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0)])
    world.add(customer("C-1"))
    (receipt,) = receiver.receive([updated("C-1", 5, email="late@example.org")]).receipts
    assert receipt.outcome is Outcome.IGNORED
    assert world.row(Inbox, id=receipt.id).sealed is None
    assert person(world, "C-1").first_name == "C-1"


# The four kinds.


async def test_what_has_not_been_sent_goes_to_the_new_address(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, first_name="Ona")])
    await world.issue()
    (receipt,) = receiver.receive([updated("C-1", 5, email="new@example.org", locale="de")]).receipts
    assert receipt.outcome is Outcome.TAKEN
    await world.work()
    (letter,) = world.senders["email"].messages
    assert letter.to == "new@example.org"
    assert person(world, "C-1").first_name == "Ona"
    assert world.row(CustomerRow).locale == "de"


async def test_an_update_that_overtook_its_request_is_kept_for_it(inlet):
    world, receiver = inlet()
    receiver.receive([updated("C-1", 5, email="new@example.org", date_of_birth="1990-12-31")])
    assert world.rows(CustomerRow) == []
    assert b"example" not in world.row(Inbox).sealed
    receiver.receive([requested("C-1", 0, first_name="Ona")])
    found = person(world, "C-1")
    assert (found.email, found.first_name, found.date_of_birth.year) == ("new@example.org", "Ona", 1990)


async def test_a_cancelled_customer_is_not_invited_whichever_list_they_came_by(inlet):
    world, receiver = inlet()
    world.add(customer("C-1"), customer("C-2"))
    receiver.receive([requested("C-1")])
    await world.issue()
    (receipt,) = receiver.receive([cancelled("C-1")]).receipts
    assert receipt.job_id == world.rows(Job, customer_id="C-1")[0].id
    assert {row.state for row in world.rows(Job, customer_id="C-1")} == {JobState.CANCELLED}
    await world.work()
    assert [letter.to for letter in world.senders["email"].messages] == ["c-2@example.org"]


async def test_another_purpose_goes_on(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1"), requested("C-1", purpose="loan"), cancelled("C-1", purpose="loan")])
    assert {row.purpose: row.state.value for row in world.rows(Job)} == {"onboarding": "waiting", "loan": "cancelled"}


@pytest.mark.parametrize("kind", [cancelled, erased])
async def test_a_session_that_was_being_opened_is_kept_and_nothing_is_sent_of_it(inlet, kind):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        receiver.receive([kind("C-1")])
        return world.session()

    receiver.receive([requested("C-1")])
    await world.work()
    assert world.states() == {"cancelled": 1}
    session = world.row(SessionRow)
    assert session.state is SessionState.WAITING
    assert (session.sealed == ERASED) is (kind is erased)
    assert (world.rows(InvitationRow), world.senders["email"].messages) == ([], [])

    receiver.receive([requested("C-1")])
    await world.work()
    assert len(world.asked) == 1  # the session lives: no second one
    invited = kind is cancelled
    assert len(world.senders["email"].messages) == invited
    again = world.rows(Job)[-1]
    assert again.state is (JobState.INVITED if invited else JobState.WAITING)
    assert again.reason == ("" if invited else "session_ends_first")


async def test_a_call_that_failed_is_not_made_again_for_who_was_cancelled_meanwhile(inlet):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        receiver.receive([cancelled("C-1")])
        return LIMITED

    receiver.receive([requested("C-1")])
    await world.work()
    assert world.states() == {"waiting": 1}
    world.clock.advance(minutes=10)
    await world.work()
    assert (world.states(), len(world.asked)) == ({"cancelled": 1}, 1)


async def test_a_message_that_was_being_sent_is_not_tried_again_once_it_was_cancelled(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1")])
    await world.issue()
    terms = world.parts.invite_work("email").terms
    taken = world.parts.invitations.take(terms, most=10, now=world.clock()).invitations
    receiver.receive([cancelled("C-1")])
    world.parts.invitations.release(terms.rule, taken, now=world.clock())
    assert world.letter().state is InvitationState.WAITING
    await world.work()
    assert (world.senders["email"].messages, world.letter().state) == ([], InvitationState.SUPERSEDED)


async def test_a_list_that_waits_for_a_cancelled_row_of_an_event_is_not_left_behind(inlet):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        if not world.rows(SessionRow) and len(world.rows(Job)) == 1:
            receiver.receive([cancelled("C-1")])
            world.add(customer("C-1"))  # joins the row that is being worked
        return world.session()

    receiver.receive([requested("C-1")])
    await world.work()
    assert [row.state for row in world.rows(Job)] == [JobState.CANCELLED, JobState.INVITED]
    assert (len(world.asked), len(world.senders["email"].messages)) == (1, 1)


async def test_an_erased_customer_leaves_nothing_personal(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, external_ref="R-1"), updated("C-1", 5, phone="+37060000009")])
    await world.work()
    receiver.receive([erased("C-1")])
    assert world.row(CustomerRow).sealed is None
    assert [row.sealed for row in world.rows(Job)] == [ERASED]
    assert [row.sealed for row in world.rows(SessionRow)] == [ERASED]
    assert [row.sealed for row in world.rows(Inbox, kind=EventKind.UPDATED)] == [ERASED]
    assert world.states() == {"cancelled": 1}
    outcome = receiver.receive([requested("C-1", 3), updated("C-1", 6, email="x@example.org")])
    assert outcomes(outcome) == ["ignored", "ignored"]
    assert world.row(CustomerRow).sealed is None


async def test_a_request_from_before_the_erasure_that_overtook_it_makes_nobody_known(inlet):
    world, receiver = inlet()
    receiver.receive([erased("C-1", 20)])
    (receipt,) = receiver.receive([requested("C-1", 10)]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.IGNORED, "the customer was erased later than that")
    assert world.rows(CustomerRow) == world.rows(Job) == []


async def test_whoever_signs_up_for_the_first_time_costs_six_statements(inlet):
    """Nobody serves whom nobody knew, which is not asked; the row that holds their place says already who they are."""
    world, receiver = inlet()
    receiver.receive([requested("C-1")])  # makes the day's batch
    with statements(world.parts.database) as made:
        receiver.receive([requested("C-2")])
    assert [words(statement) for statement in made if statement != "BEGIN IMMEDIATE"] == [
        "INSERT INTO inbox",
        "INSERT INTO customer",
        "SELECT inbox.customer_id, inbox.purpose,",
        "UPDATE batch SET",
        "INSERT INTO job",
        "UPDATE inbox SET",
    ]
    with statements(world.parts.database) as made:
        receiver.receive([requested("C-2")])
    assert "INSERT INTO job" in map(words, made)
    assert any("FROM job" in statement for statement in made)


def words(statement: str) -> str:
    return " ".join(statement.split()[:3])


async def test_an_erasure_that_comes_late_spares_what_was_requested_after_it(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, external_ref="R-1"), requested("C-1", 20, external_ref="R-2")])
    receiver.receive([erased("C-1", 10)])
    first, second = world.rows(Job)
    assert (first.state, first.sealed) == (JobState.CANCELLED, ERASED)
    assert (second.state, second.joins, second.sealed != ERASED) == (JobState.WAITING, None, True)
    assert person(world, "C-1").email == "c-1@example.org"


async def test_of_a_customer_nobody_ever_requested_no_row_is_kept(inlet):
    world, receiver = inlet()
    received = receiver.receive([cancelled("C-1"), erased("C-2"), updated("C-3", email="x@example.org")])
    assert outcomes(received) == ["taken"] * 3
    assert world.rows(CustomerRow) == []


# The app first.


async def test_the_invitation_waits_for_the_app_while_the_session_is_opened_at_once(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    began = world.clock()
    await world.work()
    letter = world.letter()
    assert (letter.state, letter.due_at) == (InvitationState.WAITING, began + timedelta(minutes=30))
    batch = world.parts.batches.find("latest")
    told = status(world.parts, batch)
    assert told["forecast"]["finishes_at"] == written(letter.due_at)
    world.clock.advance(minutes=30)
    await world.work()
    assert (len(world.senders["email"].messages), len(world.asked)) == (1, 1)


async def test_who_finished_in_the_app_is_not_written_to(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    await world.work()
    world.set(SessionRow, state=SessionState.COMPLETED)
    world.clock.advance(minutes=31)
    await world.work()
    assert (world.senders["email"].messages, world.letter().state) == ([], InvitationState.SUPERSEDED)


async def test_the_time_in_the_app_counts_from_the_event_not_from_its_arrival(inlet):
    world, receiver = inlet()
    an_hour_ago = world.clock() - timedelta(minutes=25)
    receiver.receive([requested("C-1", of={"occurred_at": an_hour_ago}, invite_after="30 minutes")])
    await world.work()
    assert world.letter().due_at == an_hour_ago + timedelta(minutes=30)


async def test_a_session_that_lives_already_waits_for_the_app_too(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    await world.work()
    receiver.receive([cancelled("C-1")])
    receiver.receive([requested("C-1", invite_after="50 minutes")])
    began = world.clock()
    await world.work()
    assert (len(world.asked), world.letter().due_at) == (1, began + timedelta(minutes=50))


# In somebody else's transaction.


@pytest.mark.parametrize("commits", [True, False])
async def test_an_event_appears_or_vanishes_with_the_callers_transaction(inlet, commits):
    world, receiver = inlet()
    with world.parts.database.engine.connect() as connection:
        received = receiver.receive_within(connection, [requested("C-1")])
        (connection.commit if commits else connection.rollback)()
    assert outcomes(received) == ["taken"]
    assert len(world.rows(Inbox)) == len(world.rows(Job)) == commits


def _events(said, customer_id):
    """What a producer sends of it."""
    for one in said:
        data = {"customer_id": customer_id, **(one.columns if one.kind in (R, U) else {})}
        purpose = {"purpose": one.purpose} if one.kind in (R, C) else {}
        yield event(one.kind, data | purpose, of_minute(one))


def of_minute(one):
    return (one.at - at(0)).total_seconds() / 60


async def test_events_come_to_the_same_end_in_whatever_order_and_lots_they_arrive(inlet):
    world, receiver = inlet()
    world.clock.advance(hours=24)
    names = itertools.count()

    def end_of(lots_of_events):
        customer_id = f"C-{next(names)}"
        for lot in lots_of_events:
            received = receiver.receive(list(_events(lot, customer_id)))
            assert not {"refused", "duplicate"} & set(outcomes(received))
        rows = world.rows(CustomerRow, customer_id=customer_id)
        person = open_person(world.parts.keyring, customer_id, rows[0].sealed) if rows and rows[0].sealed else None
        return person, {row.purpose for row in world.rows(Job, customer_id=customer_id, state=JobState.WAITING)}

    @settings(max_examples=15, database=None)
    @given(days(), st.randoms(use_true_random=False))
    def check(said, random):
        shuffled = random.sample(said, len(said))
        cut = random.randint(0, len(said))
        in_time = sorted(said, key=lambda one: one.minute)
        assert end_of([shuffled[:cut], shuffled[cut:]]) == end_of([[one] for one in in_time])

    check()
