"""Events come in: each is taken once, with the effects of docs/reference/events.md."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.tables import Batch, CustomerRow, Inbox, Job
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.incoming import EventKind, Outcome
from onboarding_worker.core.model.states import BATCH, EVENT, HELD_BACK, PAUSED, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.event_receiver import Receiver
from tests.events.customer_days import C, R, U, days
from tests.simulated.events import at, cancelled, event, outcomes, person, requested, updated
from tests.simulated.world import customer

DEEP: list = []
for _ in range(40):
    DEEP = [DEEP]


async def test_a_request_becomes_a_job_of_the_days_batch_that_goes_first(inlet):
    world, receiver = inlet()
    received = receiver.receive([requested("C-1"), requested("C-2")])
    assert outcomes(received) == ["taken", "taken"]
    assert received.due == {WakeUp.issue("kyc")}
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


async def test_a_value_that_nothing_here_uses_refuses_a_request_no_more_than_a_row_and_refuses_an_update(inlet):
    world, receiver = inlet()
    wrong = {"date_of_birth": "1980-02-30", "nationality": "QQ", "sex": "x" * 27}
    receipt, other = receiver.receive([requested("C-1", **wrong), updated("C-2", 1, **wrong)]).receipts
    assert receipt.outcome is Outcome.TAKEN
    assert {one.column for one in other.problems} == set(wrong)
    await world.work()
    assert world.states() == {"invited": 1}


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


async def test_an_event_that_comes_again_after_its_digest_key_was_removed_is_a_duplicate_whatever_it_says(inlet):
    world, receiver = inlet()
    one = requested("C-1")
    receiver.receive([one])
    later = Receiver(world.parts.intake, world.parts.inboxes, Keyring([new_key()]))
    (again,) = later.receive([replace(one, occurred_at=at(1))]).receipts
    assert again.outcome is Outcome.DUPLICATE


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
    assert "--" not in repr(receipt)  # a sender of events has no use for a command's options
    assert (world.rows(Inbox), world.rows(Job), world.rows(Batch)) == ([], [], [])


async def test_a_refused_event_does_not_stop_the_rest_of_its_chunk(inlet):
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
        {"occurred_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))},
    ],
)
async def test_what_no_column_or_json_holds_is_refused_with_words(inlet, bad):
    world, receiver = inlet()
    received = receiver.receive([replace(requested("C-1"), **bad), requested("C-2")])
    assert outcomes(received) == ["refused", "taken"]
    assert received.receipts[0].reason
    assert [row.customer_id for row in world.rows(Job)] == ["C-2"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": 6}, "its id is not a text"),
        ({"source": None}, "its source is missing"),
        ({"occurred_at": "2026-11-20T08:00:00Z"}, "its time is not a datetime"),
    ],
)
async def test_what_python_gives_in_another_type_is_refused_with_its_name(inlet, bad, said):
    _, receiver = inlet()
    assert [one.reason for one in receiver.receive([replace(requested("C-1"), **bad)]).receipts] == [said]


async def test_an_event_that_the_database_refuses_is_refused_alone(inlet, caplog):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0)])
    world.set(CustomerRow, encrypted=b"\x01spoilt-and-long-enough-to-be-one")
    received = receiver.receive([requested("C-2"), updated("C-1", 5, email="new@example.org"), requested("C-3")])
    assert outcomes(received) == ["taken", "refused", "taken"]
    assert "CannotDecrypt" in received.receipts[1].reason
    assert received.due == {WakeUp.issue("kyc")}
    assert len(world.rows(Inbox)) == 3
    assert "example.org" not in caplog.text


async def test_an_outage_while_events_are_tried_alone_does_not_tell_of_the_chunk_before(inlet):
    """An application that calls the receiver may show the whole chain of errors."""
    failures: list[sa.exc.StatementError] = [
        sa.exc.DataError("UPDATE", {}, Exception("new@example.org")),
        sa.exc.OperationalError("UPDATE", {}, Exception("away")),
    ]

    class Inboxes:
        def take(self, arrivals, **_):
            raise failures.pop(0)

    world, _ = inlet()
    with pytest.raises(sa.exc.OperationalError) as away:
        Receiver(world.parts.intake, Inboxes(), world.parts.keyring).receive([requested("C-1")])
    assert away.value.__context__ is None


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
    world.parts.decisions.pause(batch, by="ann", now=world.clock())
    received = receiver.receive([requested("C-2")])
    assert received.due == set()
    assert world.job("C-2").priority == EVENT + PAUSED
    world.parts.decisions.resume(batch, now=world.clock())
    assert world.job("C-2").priority == EVENT


async def test_a_request_for_a_customer_of_a_stopped_list_is_served(inlet):
    world, receiver = inlet()
    stopped = world.add(customer("C-1"))
    world.parts.decisions.interrupt(stopped, by="ann", now=world.clock())
    receiver.receive([requested("C-1")])
    listed, own = world.rows(Job)
    assert (own.leader_id, listed.leader_id) == (None, own.id)
    await world.work()
    assert len(world.senders["email"].messages) == 1


@pytest.mark.parametrize(
    "waits", [{"reason": "planned"}, {"reason": "credits_spent"}, {"priority": BATCH + HELD_BACK}], ids=str
)
async def test_a_request_goes_before_a_list_whose_plan_lets_its_customer_wait(inlet, waits):
    world, receiver = inlet()
    world.add(customer("C-1"))
    world.set(Job, due_at=world.clock() + timedelta(days=7), **waits)
    receiver.receive([requested("C-1")])
    await world.work()
    assert len(world.senders["email"].messages) == 1


async def test_a_request_for_a_customer_of_a_list_joins_its_row(inlet):
    world, receiver = inlet()
    world.add(customer("C-1"))
    received = receiver.receive([requested("C-1")])
    listed, own = world.rows(Job)
    assert (own.leader_id, received.receipts[0].job_id) == (listed.id, own.id)
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
    assert world.row(Inbox, id=receipt.id).encrypted is None
    assert person(world, "C-1").first_name == "C-1"


# In the caller's transaction.


@pytest.mark.parametrize("commits", [True, False])
async def test_an_event_appears_or_vanishes_with_the_callers_transaction(inlet, commits):
    world, receiver = inlet()
    with world.parts.database.engine.connect() as connection:
        received = receiver.receive_within(connection, [requested("C-1")])
        (connection.commit if commits else connection.rollback)()
    assert outcomes(received) == ["taken"]
    assert len(world.rows(Inbox)) == len(world.rows(Job)) == commits


def _events(events, customer_id):
    """The events as a producer sends them. Their addresses all differ: the name says that they are of one person."""
    for one in events:
        data = {"customer_id": customer_id, **(one.columns if one.kind in (R, U) else {})}
        data |= {"first_name": "Ona", "last_name": "Petraitė"} if one.kind is R else {}
        purpose = {"purpose": one.purpose} if one.kind in (R, C) else {}
        yield event(one.kind, data | purpose, of_minute(one))


def of_minute(one):
    return (one.at - at(0)).total_seconds() / 60


async def test_events_come_to_the_same_end_in_any_order_and_chunks(inlet):
    world, receiver = inlet()
    world.clock.advance(hours=24)
    names = itertools.count()

    def end_of(chunks):
        customer_id = f"C-{next(names)}"
        for chunk in chunks:
            received = receiver.receive(list(_events(chunk, customer_id)))
            assert not {"refused", "duplicate"} & set(outcomes(received))
        rows = world.rows(CustomerRow, customer_id=customer_id)
        person = (
            decrypt_person(world.parts.keyring, customer_id, rows[0].encrypted) if rows and rows[0].encrypted else None
        )
        return person, {row.purpose for row in world.rows(Job, customer_id=customer_id, state=JobState.WAITING)}

    @settings(max_examples=15, database=None)
    @given(days(), st.randoms(use_true_random=False))
    def check(events, random):
        shuffled = random.sample(events, len(events))
        cut = random.randint(0, len(events))
        in_time = sorted(events, key=lambda one: one.minute)
        assert end_of([shuffled[:cut], shuffled[cut:]]) == end_of([[one] for one in in_time])

    check()
