"""The newest job of a customer is the one that came last, whatever its batch.

A day's batch of events has its number from the day's first event. An event that comes after a list of that day has a
smaller id than the rows of the list.
"""

import pytest

from onboarding_worker.core.database.job_ids import job_id
from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.store.admission import following
from tests.stored.shelf import Shelf, customer

ONA = ("Ona", "onboarding")


@pytest.fixture
def events(shelf: Shelf) -> int:
    """The day's batch of events, which is there before the list of `listed`."""
    return shelf.batch("events")


@pytest.fixture
def listed(shelf: Shelf, events: int) -> int:
    return shelf.add(customer("Ona"), batch=shelf.batch("list.csv"))


@pytest.fixture
def late(shelf: Shelf, events: int, listed: int) -> int:
    """The job of an event that came after the list's row had lapsed."""
    shelf.set(Job, state=JobState.LAPSED, due_at=None)
    shelf.clock.advance(minutes=1)
    shelf.add(customer("Ona"), batch=events, first_row=7)
    return job_id(events, 7)


def test_a_decision_about_an_unknown_call_is_seen_in_the_job_that_came_later(shelf, decide, events, listed):
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.UNKNOWN, Hold(Reason.UNKNOWN, "time-out")))
    decide.cancel(listed, now=shelf.clock())
    shelf.clock.advance(minutes=1)
    shelf.add(customer("Ona"), batch=events, first_row=7)
    assert shelf.row(Job, batch_id=events).state is JobState.HELD
    decide.resolve(Which(events), Verdict.REPEAT, now=shelf.clock())
    (job,) = shelf.claim()
    assert job.id == job_id(events, 7)
    shelf.set(Job, Job.id == job.id, state=JobState.CANCELLED, due_at=None)
    with shelf.database.read() as connection:
        assert following(connection, [ONA], now=shelf.clock(), lock=False) == {}


@pytest.mark.both_databases
def test_the_first_job_that_joined_is_the_successor(shelf, decide, events):
    """Not the one with the smallest id."""
    leading = shelf.add(customer("Ona"))
    shelf.clock.advance(minutes=1)
    first = shelf.add(customer("Ona"), batch=shelf.batch("list.csv"))
    shelf.clock.advance(minutes=1)
    shelf.add(customer("Ona"), batch=events, first_row=7)
    decide.cancel(leading, now=shelf.clock())
    successor = shelf.row(Job, batch_id=first)
    assert (successor.state, successor.leader_id) == (JobState.WAITING, None)
    assert shelf.row(Job, batch_id=events).leader_id == successor.id
