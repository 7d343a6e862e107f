"""Which calls of ended jobs are in doubt, and which rows go on once none is."""

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, Job, SessionRow
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import ENDED_JOBS, JobState, SessionState
from onboarding_worker.core.rows.calls_in_doubt import in_doubt, release_cleared
from tests.stored.shelf import customer

SECOND = timedelta(seconds=1)


@pytest.fixture
def doubted(shelf):
    """Ona's row was cancelled with a call in doubt, and her row of a later list is held. Around it all that settles
    nothing: rows and sessions of another customer and of another purpose, and a session from before the call."""
    batch = shelf.add(customer("Ona"), customer("Jonas"), customer("Ona", purpose="renewal"))
    shelf.issue()
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Attempt, outcome=Kind.UNKNOWN.value)
    shelf.set(Job, state=JobState.CANCELLED, attempts=0)
    ended = shelf.job("Ona", purpose="onboarding")
    shelf.set(Job, Job.id == ended.id, attempts=1)
    shelf.set(SessionRow, SessionRow.job_id == ended.id, issued_at=shelf.clock() - SECOND)
    again = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=again).reason == "unknown"
    return batch, ended, shelf.job("Ona", batch_id=again)


def found(shelf, now=None):
    with shelf.database.read() as connection:
        return [tuple(row) for row in in_doubt(connection, ["Ona", "Jonas"], now=now or shelf.clock())]


ENDS = [JobState.CANCELLED, JobState.FAILED, JobState.LAPSED]
OF_JOB = [
    ({}, True),
    *(({"state": state}, state in ENDS) for state in sorted(ENDED_JOBS)),
    ({"leader_id": 1}, False),
    ({"attempts": 0}, False),
    ({"fence": 9}, False),
    ({"fence": 9, "unknown_attempt": "its call"}, True),
]
OF_CALL = [
    ({"outcome": "late"}, True),
    ({"outcome": "done"}, False),
    ({"outcome": "transient"}, False),
    ({"repeatable": True}, False),
    ({"invitation_id": UUID(int=1)}, False),
]
OF_LATER_ROW = [
    ({"fence": 1}, False),
    ({"fence": 1, "created_at": -SECOND}, True),
    ({"fence": 1, "customer_id": "Petras"}, True),
]


@pytest.mark.parametrize(
    ("of", "changes", "doubtful"),
    [
        *(("job", *case) for case in OF_JOB),
        *(("call", *case) for case in OF_CALL),
        *(("later row", *case) for case in OF_LATER_ROW),
        ("session", {"issued_at": timedelta(0)}, False),
    ],
    ids=str,
)
def test_a_call_of_an_ended_row_is_in_doubt_until_something_of_its_customer_and_purpose_settles_it(
    shelf, doubted, of, changes, doubtful
):
    batch, ended, again = doubted
    call = shelf.row(Attempt, job_id=ended.id)
    values = {
        name: call.id if value == "its call" else shelf.clock() + value if isinstance(value, timedelta) else value
        for name, value in changes.items()
    }
    which = {
        "job": (Job, Job.id == ended.id),
        "call": (Attempt, Attempt.id == call.id),
        "later row": (Job, Job.id == again.id),
        "session": (SessionRow, SessionRow.job_id == ended.id),
    }
    model, where = which[of]
    if values:
        shelf.set(model, where, **values)
    assert found(shelf) == ([(batch, ended.row, "Ona", "onboarding")] if doubtful else [])


def test_a_call_is_in_doubt_for_thirty_days(shelf, doubted):
    """For as long as any session lives that it may have opened."""
    days = timedelta(days=30)
    shelf.set(SessionRow, issued_at=shelf.clock() - 2 * days)
    ages = {}
    for age in (days - SECOND, days):
        shelf.set(Attempt, Attempt.job_id == doubted[1].id, opened_at=shelf.clock() - age)
        ages[age] = bool(found(shelf))
    assert ages == {days - SECOND: True, days: False}


def test_of_several_calls_in_doubt_that_of_the_newest_row_is_the_first(shelf, doubted):
    _, ended, _ = doubted
    shelf.set(Attempt, Attempt.job_id == shelf.job("Jonas").id, opened_at=shelf.clock() - SECOND)
    shelf.set(Job, Job.customer_id == "Jonas", attempts=1, created_at=shelf.clock() - SECOND)
    jonas = shelf.job("Jonas")
    with shelf.database.write() as connection:
        connection.execute(sa.delete(SessionRow))
    assert [row for _, row, *_ in found(shelf)] == [ended.row, jonas.row]
    shelf.set(Job, Job.customer_id == "Jonas", created_at=shelf.clock() + SECOND)
    assert [row for _, row, *_ in found(shelf)] == [jonas.row, ended.row]


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [
        ({}, True),
        ({"state": JobState.FAILED}, False),
        ({"leader_id": 1}, False),
        ({"purpose": "another"}, False),
        ({"customer_id": "Jonas"}, False),
    ],
    ids=str,
)
def test_once_no_call_is_in_doubt_only_what_was_held_for_it_goes_on(shelf, doubted, changes, goes_on):
    _, ended, again = doubted
    shelf.set(Job, Job.id == ended.id, attempts=0)
    if changes:
        shelf.set(Job, Job.id == again.id, **changes)
    before = shelf.row(Job, id=again.id)
    with shelf.database.write() as connection:
        release_cleared(connection, [ended.id], now=shelf.clock())
    after = shelf.row(Job, id=again.id)
    assert (after.state is JobState.WAITING) if goes_on else (after == before)


def test_a_row_whose_earlier_call_is_still_in_doubt_stays_held_beside_one_that_goes_on(shelf, doubted):
    _, ended, again = doubted
    other = shelf.row(Job, purpose="renewal")
    held = shelf.add(customer("Ona", purpose="renewal"))
    shelf.set(Job, Job.batch_id == held, state=JobState.HELD, reason="unknown", due_at=None)
    with shelf.database.write() as connection:
        release_cleared(connection, [ended.id, other.id], now=shelf.clock())
    assert shelf.row(Job, id=again.id) == again
    assert shelf.row(Job, batch_id=held).state is JobState.WAITING
