"""A retried row starts again, or joins the job that serves its customer now."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Kind
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store.settlement import Decided, Which
from tests.stored.decisions import adds_up, fail, names, retry
from tests.stored.shelf import WEEK, customer


def test_a_row_whose_call_failed_is_called_for_again_with_its_attempts_at_zero(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    (ona, jonas) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(ona, Kind.TRANSIENT, Cancel("attempts_spent", "HTTP 500")), shelf.got(jonas))
    assert shelf.job("Ona").attempts == 1
    assert decide.count(Which(batch), JobState.FAILED) == 1
    decided = retry(shelf, decide, batch)
    assert (decided.rows, decided.accounts) == (1, {"kyc"})
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.attempts, row.reason) == (JobState.WAITING, shelf.clock(), 0, "")
    assert names(shelf.issue()) == ["Ona"]
    adds_up(shelf, batch, 2)


def test_a_row_whose_message_failed_has_the_same_message_sent_again_without_a_call(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.claim_messages()
    shelf.hand_over([first], Cancel("bad_input", "550"))
    assert shelf.job("Ona").state is JobState.FAILED
    assert retry(shelf, decide, batch).rows == 1
    assert shelf.claim() == []  # moved on to the session that lives
    (again,) = shelf.send()
    assert (again.id, again.attempts, again.opening.link) == (first.id, 0, first.opening.link)
    assert shelf.job("Ona").state is JobState.INVITED
    assert (len(shelf.rows(SessionRow)), len(shelf.rows(InvitationRow))) == (1, 1)


def test_a_row_whose_message_failed_and_whose_session_has_ended_gets_a_new_one(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), Cancel("bad_input", "550"))
    shelf.clock.now += WEEK
    retry(shelf, decide, batch)
    assert names(shelf.issue()) == ["Ona"]
    assert len(shelf.send()) == 1
    assert len(shelf.rows(SessionRow)) == 2


def test_a_row_whose_customer_is_served_for_another_list_in_the_meantime_joins_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    other = shelf.add(customer("Ona"))
    assert retry(shelf, decide, batch).rows == 1
    leader = shelf.job("Ona", batch_id=other)
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.leader_id, row.reason, row.due_at) == (JobState.WAITING, leader.id, "joined_job", None)
    assert len(shelf.issue()) == 1


def test_those_who_had_joined_a_row_that_now_joins_another_follow_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    leader = shelf.add(customer("Ona"))
    retry(shelf, decide, batch)
    leads = shelf.job("Ona", batch_id=leader).id
    followers = [shelf.job("Ona", batch_id=one) for one in (batch, joined)]
    assert {row.leader_id for row in followers} == {leads}
    assert {row.detail for row in followers} == {f"joined batch {leader}, row 2"}
    shelf.issue()
    assert shelf.facts.counts(joined).jobs == {JobState.ISSUED: 1}


def test_a_row_that_joined_one_that_failed_is_served_on_its_own_once_retried(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    assert shelf.facts.counts(joined).jobs == {JobState.FAILED: 1}
    assert decide.count(Which(joined), JobState.FAILED) == 1
    assert retry(shelf, decide, joined).rows == 1
    assert [job.batch_id for job in shelf.issue()] == [joined]
    assert shelf.facts.counts(joined).jobs == {JobState.ISSUED: 1}
    assert shelf.facts.counts(batch).jobs == {JobState.FAILED: 1}
    assert retry(shelf, decide, batch).rows == 1  # and the first joins that one now
    assert shelf.facts.counts(batch).jobs == {JobState.ISSUED: 1}


def test_a_row_whose_customer_has_finished_for_another_list_meanwhile_is_completed(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    other = shelf.add(customer("Ona"))
    shelf.set(Job, Job.batch_id == other, state=JobState.COMPLETED, result="approved")
    shelf.add(customer("Ona", purpose="renewal"))
    assert retry(shelf, decide, batch) == Decided(1)
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.result, row.reason, row.due_at) == (JobState.COMPLETED, "approved", "already_finished", None)
    assert row.detail == f"the customer finished in batch {other}, row 2"
    assert [job.customer.purpose for job in shelf.claim()] == ["renewal"]
    assert shelf.facts.counts(joined).results == {"approved": 1}


def test_a_row_whose_customer_finished_for_another_purpose_is_called_for_again(shelf, decide):
    shelf.add(customer("Ona", purpose="renewal"))
    shelf.set(Job, state=JobState.COMPLETED, result="approved")
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    retry(shelf, decide, batch)
    assert [job.batch_id for job in shelf.claim()] == [batch]


@pytest.mark.parametrize(
    "state", [JobState.WAITING, JobState.ISSUED, JobState.INVITED, JobState.HELD, JobState.COMPLETED, JobState.LAPSED]
)
def test_what_has_not_failed_is_not_retried(shelf, decide, state):
    batch = shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    before = shelf.rows(Job)
    assert retry(shelf, decide, batch) == Decided(0)
    assert shelf.rows(Job) == before


@pytest.mark.both_databases
def test_only_the_rows_that_are_meant_are_retried(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"), batch=batch, first_row=9, account="au")
    other = shelf.add(customer("Petras"))
    shelf.set(Job, state=JobState.FAILED)
    assert decide.count(Which(batch, rows=read_rows("3")), JobState.FAILED) == 1
    assert retry(shelf, decide, batch, rows=read_rows("3")).rows == 1
    assert retry(shelf, decide, batch, account="au") == Decided(1, frozenset({"au"}))
    assert retry(shelf, decide, batch, account="au", rows=read_rows("2")).rows == 0
    states = [(row.customer_id, row.state) for row in shelf.rows(Job, state=JobState.FAILED)]
    assert states == [("Ona", "failed"), ("Petras", "failed")]
    assert decide.count(Which(other), JobState.FAILED) == 1


@pytest.mark.both_databases
def test_rows_retried_at_once_from_two_lists_have_one_leader_for_each_customer(shelf, decide):
    who = [customer(f"C{number}") for number in range(20)]
    batches = []
    for order in (1, -1):  # two that make the same customers lead in opposite orders would lock each other out
        batches.append(shelf.add(*who[::order]))
        fail(shelf)
    with ThreadPoolExecutor(2) as threads:
        decided = list(threads.map(lambda batch: retry(shelf, decide, batch), batches))
    assert [item.rows for item in decided] == [20, 20]
    assert len(shelf.rows(Job, leader_id=None)) == 20
    assert len(shelf.claim()) == 20


def test_a_decision_that_another_one_was_quicker_than_is_made_again(shelf, decide, database):
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    refused = iter([True])

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def refuse_once(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("UPDATE job") and next(refused, False):
            raise sa.exc.IntegrityError(statement, parameters, Exception("another row leads"))

    assert retry(shelf, decide, batch).rows == 1
    assert next(refused, None) is None
