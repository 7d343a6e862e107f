"""What comes during a call makes its session special: it is not written as the first session of a waiting customer."""

import threading
import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Kind, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import DONE, LATE, JobState
from onboarding_worker.core.rules.reconciliation import UnknownCall
from tests.stored.erased import erased
from tests.stored.row_locks import wait_until_blocked
from tests.stored.shelf import customer


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
    job, sessions, invited, outcome = after(link_requested_at=shelf.clock())
    assert (job.state, "Ona" in sessions, invited, outcome) == (JobState.INVITED, True, False, DONE)
    assert job.link_requested_at is None


@pytest.mark.parametrize(
    "changes", [{"fence": Job.fence + 1}, {"state": JobState.WAITING}, {"state": JobState.COMPLETED}]
)
def test_a_job_whose_lease_was_lost_during_the_call_stays_as_it_is(after, changes):
    before = changes.get("state", JobState.WORKING)
    job, sessions, invited, outcome = after(**changes)
    assert (job.state, job.session_id, job.attempts) == (before, None, 0)
    assert ("Ona" in sessions, invited, outcome) == (False, False, LATE)


@pytest.mark.parametrize("lease_lost", [False, True])
def test_of_a_customer_who_was_erased_during_the_call_its_answer_brings_nothing_back(shelf, lease_lost):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    erased(shelf.database, shelf.keyring, "Ona", now=shelf.clock())
    if lease_lost:
        shelf.set(Attempt, outcome=Kind.UNKNOWN.value, closed_at=shelf.clock())
    problem = Problem(Kind.BAD_INPUT, "HTTP 400", words="no such person as Ona")
    failed = CallResult(opened, shelf.clock(), Cancel(Reason.BAD_INPUT, ""), problem=problem)
    shelf.finish(failed if lease_lost else shelf.got(opened))
    assert [row.encrypted for row in shelf.rows(SessionRow)] == ([] if lease_lost else [ERASED])
    assert shelf.row(Attempt).encrypted is None


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
    shelf.finish(shelf.got(replace(opened, unknown_call=unknown)))
    job = shelf.job("Ona")
    assert (job.state, job.unknown_attempt, job.attempts) == (JobState.ISSUED, None, 0)


@pytest.mark.postgresql_alone
def test_jobs_are_locked_in_the_order_of_their_ids_whichever_call_ended_first(shelf, database):
    shelf.add(*(customer(f"C-{number:04}") for number in range(1000)))
    opened = sorted(shelf.open(shelf.claim(most=20)), key=lambda item: item.id)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE job")  # a small table is joined in an order of its own
    results = [shelf.got(item) for item in reversed(opened)]
    first, last = opened[0].id, opened[-1].id
    failures: list[BaseException] = []

    def write() -> None:
        try:
            shelf.finish(*results)
        except sa.exc.DBAPIError as error:
            failures.append(error)

    writing = threading.Thread(target=write)
    lock = sa.select(Job.id).with_for_update()
    with database.write() as connection:  # as an operator's decision goes through a batch
        connection.execute(lock.where(Job.id == first)).all()
        writing.start()
        wait_until_blocked(database, writing)
        connection.execute(lock.where(Job.id == last)).all()
    writing.join()
    assert failures == []
    assert {row.state for row in shelf.rows(Job) if row.id <= last} == {JobState.ISSUED}
