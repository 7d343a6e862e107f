"""The state of a batch, from the states of its jobs; and what repeating held rows may cost, in words."""

from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.states import ENDED_JOBS, OUT_JOBS, BatchState, JobState
from onboarding_worker.lists.decisions.store.decisions import RepeatCost
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting import batch_report
from onboarding_worker.reporting.store.counts import AccountFacts

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def state_of(jobs, *, issued_only=0, paused=False, cancelled=False, importing=False, requests=0):
    imported_at, cancelled_at = None if importing else NOW, NOW if cancelled else None
    batch = BatchFacts(1, "", NOW, imported_at, NOW, cancelled_at, pause_cause="person" if paused else "")
    accounts = {"kyc": AccountFacts(requests)}
    return batch_report.state_of(batch, SimpleNamespace(jobs=jobs, issued_only=issued_only, accounts=accounts))


def test_the_jobs_of_a_batch_decide_its_state():
    cases = [
        ({JobState.WAITING: 3}, 0, BatchState.READY),
        ({JobState.WAITING: 2, JobState.WORKING: 1}, 0, BatchState.BEGUN),
        ({JobState.WAITING: 2, JobState.INVITED: 1}, 0, BatchState.BEGUN),
        ({JobState.ISSUED: 1, JobState.INVITED: 2}, 0, BatchState.BEGUN),
        ({JobState.INVITED: 3}, 0, BatchState.SENT),
        ({JobState.INVITED: 1, JobState.HELD: 1, JobState.FAILED: 1}, 0, BatchState.SENT),
        ({JobState.ISSUED: 2, JobState.INVITED: 1}, 2, BatchState.SENT),
        ({JobState.ISSUED: 2, JobState.FAILED: 1}, 2, BatchState.FINISHED),
        ({JobState.ISSUED: 3, JobState.FAILED: 1}, 2, BatchState.BEGUN),
        ({JobState.HELD: 1, JobState.COMPLETED: 9}, 0, BatchState.SENT),
        ({state: 1 for state in ENDED_JOBS}, 0, BatchState.FINISHED),
        ({}, 0, BatchState.FINISHED),  # every line was refused: there is nothing left to do
    ]
    assert [
        (jobs, got)
        for jobs, issued_only, state in cases
        if (got := state_of(jobs, issued_only=issued_only)) is not state
    ] == []


def test_a_decision_about_a_batch_comes_before_the_states_of_its_jobs():
    finished = {JobState.COMPLETED: 1}
    assert state_of(finished, paused=True) is BatchState.PAUSED
    assert state_of(finished, cancelled=True, paused=True) is BatchState.CANCELLED


def test_a_batch_that_is_still_coming_in_is_never_finished():
    assert state_of({JobState.COMPLETED: 5}, importing=True) is BatchState.BEGUN
    assert state_of({}, importing=True) is BatchState.READY


def test_a_batch_is_ready_only_before_its_first_call():
    assert state_of({JobState.WAITING: 3}, requests=1) is BatchState.BEGUN
    assert state_of({JobState.WAITING: 3, JobState.CANCELLED: 1}) is BatchState.READY
    assert state_of({JobState.WAITING: 2, JobState.INVITED: 1}, importing=True) is BatchState.BEGUN


COUNTS = st.dictionaries(st.sampled_from(JobState), st.integers(0, 5))


@given(COUNTS)
def test_a_finished_batch_has_no_job_that_has_not_ended(jobs):
    open_jobs = sum(count for state, count in jobs.items() if state not in ENDED_JOBS)
    assert (state_of(jobs) is BatchState.FINISHED) == (open_jobs == 0)


@given(COUNTS)
def test_a_sent_batch_has_no_job_that_still_has_to_be_served(jobs):
    to_do = sum(count for state, count in jobs.items() if state not in OUT_JOBS)
    assert (state_of(jobs) in (BatchState.SENT, BatchState.FINISHED)) == (to_do == 0)


def test_second_messages_are_counted_as_messages_and_not_as_customers():
    """A customer may have an email and a text."""
    said = batch_report.worst_cost(RepeatCost({}, {"email": 1, "sms": 1}))
    assert said == "At worst that brings 2 second messages (email 1, sms 1)"
    one = batch_report.worst_cost(RepeatCost({"kyc": 1}, {"sms": 1}))
    assert one == "At worst that pays for a second session (kyc 1) and brings a second message (sms 1)"
    assert batch_report.worst_cost(RepeatCost({}, {})) == ""
