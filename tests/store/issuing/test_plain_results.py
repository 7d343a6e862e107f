"""What comes during a call makes its session special: it is not written as the first session of a waiting customer."""

import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.store.shelf import customer
from worker.domain.model.reconciliation import UnknownCall
from worker.domain.model.states import JobState
from worker.store.attempts.attempt_log import DONE, LATE
from worker.store.tables import Attempt, InvitationRow, Job, SessionRow


@pytest.fixture
def after(shelf):
    """The rows of two customers after the results of their calls, during which Ona's job changed."""

    def results(**changes):
        shelf.add(customer("Ona"), customer("Jonas"))
        opened = shelf.open(shelf.claim())
        with shelf.database.write() as connection:
            connection.execute(sa.update(Job).where(Job.customer_id == "Ona").values(**changes))
        shelf.finish(*map(shelf.got, opened))
        sessions = {row.customer_id for row in shelf.rows(SessionRow)}
        invited = {row.job_id for row in shelf.rows(InvitationRow)}
        outcomes = {row.job_id: row.outcome for row in shelf.rows(Attempt)}
        ona, jonas = shelf.job("Ona"), shelf.job("Jonas")
        # The other result of the flush is plain all the same.
        assert (jonas.state, jonas.id in invited, outcomes[jonas.id]) == (JobState.ISSUED, True, DONE)
        return ona, sessions, ona.id in invited, outcomes[ona.id]

    return results


def test_a_job_that_was_cancelled_during_its_call_is_sent_no_message(shelf, after):
    job, sessions, invited, outcome = after(cancelled_at=shelf.clock())
    assert (job.state, "Ona" in sessions, invited, outcome) == (JobState.CANCELLED, True, False, DONE)


def test_a_customer_who_came_to_the_stable_link_during_the_call_is_sent_no_message(shelf, after):
    job, sessions, invited, outcome = after(pressed_at=shelf.clock())
    assert (job.state, "Ona" in sessions, invited, outcome) == (JobState.INVITED, True, False, DONE)
    assert job.pressed_at is None


@pytest.mark.parametrize(
    "changes", [{"fence": Job.fence + 1}, {"state": JobState.WAITING}, {"state": JobState.COMPLETED}]
)
def test_a_job_whose_lease_was_lost_during_the_call_stays_as_it_is(after, changes):
    before = changes.get("state", JobState.WORKING)
    job, sessions, invited, outcome = after(**changes)
    assert (job.state, job.session_id, job.attempts) == (before, None, 0)
    assert ("Ona" in sessions, invited, outcome) == (False, False, LATE)


def test_a_session_after_an_earlier_one_replaces_it_and_is_counted(shelf):
    shelf.add(customer("Ona"))
    earlier = uuid.uuid4()
    with shelf.database.write() as connection:
        connection.execute(sa.update(Job).values(session_id=earlier))
    shelf.finish(*map(shelf.got, shelf.open(shelf.claim())))
    job, session = shelf.job("Ona"), shelf.row(SessionRow)
    assert (job.state, job.session_id, job.reissues) == (JobState.ISSUED, session.id, 1)
    assert session.replaces == earlier


def test_a_session_that_a_look_up_found_ends_the_search(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    unknown = UnknownCall(uuid.uuid4(), shelf.clock())
    with shelf.database.write() as connection:
        connection.execute(sa.update(Job).values(unknown_attempt=unknown.attempt_id))
    shelf.finish(shelf.got(replace(opened, job=replace(opened.job, unknown_call=unknown))))
    job = shelf.job("Ona")
    assert (job.state, job.unknown_attempt, job.attempts) == (JobState.ISSUED, None, 0)
