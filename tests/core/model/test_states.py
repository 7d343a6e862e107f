"""Which state an ending leads to, and the state of a job or a batch from its parts."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from worker.core.model.endings import Cancel, Done, Hold, Retry, Snooze, invitation_state_after, job_state_after
from worker.core.model.states import (
    ENDED_JOBS,
    LIVE_SESSIONS,
    OUT_JOBS,
    BatchState,
    InvitationState,
    JobState,
    SessionState,
    batch_state,
    job_state_from_invitations,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ENDINGS = {
    Done(): (JobState.ISSUED, InvitationState.SENT),
    Snooze(NOW, "rate_limited", ""): (JobState.WAITING, InvitationState.WAITING),
    Retry(NOW, "transient", ""): (JobState.WAITING, InvitationState.WAITING),
    Hold("unknown", ""): (JobState.HELD, InvitationState.HELD),
    Cancel("bad_input", ""): (JobState.FAILED, InvitationState.FAILED),
}
SENT, WAITING, WORKING = InvitationState.SENT, InvitationState.WAITING, InvitationState.WORKING
HELD, FAILED, SUPERSEDED = InvitationState.HELD, InvitationState.FAILED, InvitationState.SUPERSEDED


def test_each_ending_has_its_states():
    assert [
        (type(ending).__name__, got)
        for ending, states in ENDINGS.items()
        if (got := (job_state_after(ending), invitation_state_after(ending))) != states
    ] == []


def test_the_invitations_of_a_job_decide_its_state(subtests):
    cases = [
        ([], None),
        ([SUPERSEDED], None),
        ([WAITING], None),
        ([WORKING], None),
        ([SENT], JobState.INVITED),
        ([InvitationState.DELIVERED], JobState.INVITED),
        ([HELD], JobState.HELD),
        ([FAILED], JobState.FAILED),
        ([InvitationState.BOUNCED], JobState.FAILED),
        ([InvitationState.SUPPRESSED], JobState.FAILED),
        ([SENT, FAILED], JobState.INVITED),
        ([SENT, WAITING], JobState.INVITED),
        ([FAILED, WAITING], None),
        ([HELD, WORKING], None),
        ([HELD, SENT], JobState.HELD),
        ([HELD, SENT, WAITING], JobState.INVITED),
        ([FAILED, HELD], JobState.HELD),
        ([SUPERSEDED, SENT], JobState.INVITED),
        ([SUPERSEDED, FAILED], JobState.FAILED),
    ]
    for invitations, state in cases:
        with subtests.test(invitations=invitations):
            assert job_state_from_invitations(invitations) is state
            assert job_state_from_invitations(invitations[::-1]) is state


def state_of(jobs, *, issued_only=0, paused=False, cancelled=False, importing=False):
    return batch_state(jobs, issued_only=issued_only, paused=paused, cancelled=cancelled, importing=importing)


def test_the_jobs_of_a_batch_decide_its_state():
    cases = [
        ({JobState.WAITING: 3}, 0, BatchState.READY),
        ({JobState.WAITING: 2, JobState.WORKING: 1}, 0, BatchState.RUNNING),
        ({JobState.WAITING: 2, JobState.INVITED: 1}, 0, BatchState.RUNNING),
        ({JobState.ISSUED: 1, JobState.INVITED: 2}, 0, BatchState.RUNNING),
        ({JobState.INVITED: 3}, 0, BatchState.SENT),
        ({JobState.INVITED: 1, JobState.HELD: 1, JobState.FAILED: 1}, 0, BatchState.SENT),
        ({JobState.ISSUED: 2, JobState.INVITED: 1}, 2, BatchState.SENT),
        ({JobState.ISSUED: 2, JobState.FAILED: 1}, 2, BatchState.FINISHED),
        ({JobState.ISSUED: 3, JobState.FAILED: 1}, 2, BatchState.RUNNING),
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
    assert state_of({JobState.COMPLETED: 5}, importing=True) is BatchState.READY
    assert state_of({}, importing=True) is BatchState.READY


COUNTS = st.dictionaries(st.sampled_from(JobState), st.integers(0, 5))


@given(COUNTS)
def test_a_finished_batch_has_no_job_that_has_not_ended(jobs):
    open_jobs = sum(count for state, count in jobs.items() if state not in ENDED_JOBS)
    assert (state_of(jobs) is BatchState.FINISHED) == (open_jobs == 0)


@given(COUNTS)
def test_a_sent_batch_has_no_job_that_still_has_to_be_served(jobs):
    to_do = sum(count for state, count in jobs.items() if state not in OUT_JOBS)
    assert (state_of(jobs) in (BatchState.SENT, BatchState.FINISHED)) == (to_do == 0)


def test_the_sets_of_states_are_as_designed():
    assert {state.value for state in ENDED_JOBS} == {"completed", "lapsed", "failed", "cancelled"}
    assert {state.value for state in OUT_JOBS - ENDED_JOBS} == {"invited", "held"}
    assert {SessionState.WAITING, SessionState.STARTED} == LIVE_SESSIONS
