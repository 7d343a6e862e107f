"""Which state an ending leads to, and the state of a job from its messages."""

from datetime import UTC, datetime

import pytest

from onboarding_worker.core.model.endings import (
    Asked,
    Cancel,
    Done,
    Finish,
    Hold,
    Reconcile,
    Retry,
    Snooze,
    invitation_state_after,
    job_state_after,
)
from onboarding_worker.core.model.states import (
    BATCH,
    ENDED_JOBS,
    EVENT,
    HELD_BACK,
    LISTED_WEBHOOKS,
    LIVE_SESSIONS,
    OPEN_INVITATIONS,
    OPEN_JOBS,
    OUT_JOBS,
    PAUSED,
    PRIORITIES,
    REACHED_JOBS,
    UNDELIVERED_INVITATIONS,
    UNISSUED_JOBS,
    UNSENT_JOBS,
    WEBHOOKS_TO_CHECK,
    InvitationState,
    JobState,
    LineState,
    job_state_from_invitations,
    of_a_person,
    of_reminders,
    references,
    state_of_line,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ENDINGS = {
    Done(): (JobState.ISSUED, InvitationState.SENT),
    Snooze(NOW, "rate_limited", ""): (JobState.WAITING, InvitationState.WAITING),
    Retry(NOW, "transient", ""): (JobState.WAITING, InvitationState.WAITING),
    Reconcile(NOW, "unknown", ""): (JobState.WAITING, InvitationState.WAITING),
    Hold("unknown", ""): (JobState.HELD, InvitationState.HELD),
    Cancel("bad_input", ""): (JobState.FAILED, InvitationState.FAILED),
    Finish("approved"): (JobState.COMPLETED, InvitationState.FAILED),
    Asked(): (JobState.INVITED, InvitationState.FAILED),
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
        (["of a newer release", FAILED], None),
    ]
    for invitations, state in cases:
        with subtests.test(invitations=invitations):
            assert job_state_from_invitations(invitations) is state
            assert job_state_from_invitations(invitations[::-1]) is state


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (ENDED_JOBS, "completed lapsed failed cancelled"),
        (OPEN_JOBS, "waiting working issued invited held"),
        (OUT_JOBS, "completed lapsed failed cancelled invited held"),
        (REACHED_JOBS, "invited completed lapsed"),
        (UNISSUED_JOBS, "waiting working"),
        (UNSENT_JOBS, "waiting working issued"),
        (OPEN_INVITATIONS, "waiting working held"),
        (UNDELIVERED_INVITATIONS, "failed superseded bounced suppressed"),
        (LIVE_SESSIONS, "waiting started"),
        (LISTED_WEBHOOKS, "unknown alert broken"),
        (WEBHOOKS_TO_CHECK, "alert broken"),
    ],
)
def test_the_sets_of_states_are_as_designed(states, words):
    assert sorted(state.value for state in states) == sorted(words.split())


def test_a_row_that_joined_shows_the_state_of_the_one_that_it_joined_but_for_its_invitation():
    assert [(state, got) for state in JobState if (got := state_of_line(state, joined=False)) is not state] == []
    assert [(state, got) for state in JobState if (got := state_of_line(state, joined=True)) is not state] == [
        (JobState.INVITED, LineState.JOINED)
    ]


def test_a_pause_holds_a_lists_reminders_and_no_message_that_a_person_sends(subtests):
    for job, reminders, of_person in [
        (EVENT, BATCH, EVENT),
        (BATCH, BATCH, BATCH),
        (EVENT + PAUSED, BATCH + PAUSED, EVENT),
        (BATCH + PAUSED, BATCH + PAUSED, BATCH),
        (BATCH + HELD_BACK, BATCH + PAUSED, BATCH),
    ]:
        with subtests.test(job=job):
            assert (of_reminders(job), of_a_person(job)) == (reminders, of_person)


def test_the_priorities_that_are_stored_with_rows_stay_as_they_are():
    assert (EVENT, BATCH, PAUSED, HELD_BACK, PRIORITIES) == (0, 10, 100, 200, (0, 10))


def test_no_reference_is_stored_in_part():
    assert references(["a" * 199, "b" * 200]) == f"{'a' * 199} {'b' * 200}"
    assert references(["a" * 199, "b" * 201]) == "a" * 199
