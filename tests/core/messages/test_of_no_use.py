"""Which claimed messages are of no use any more, by what has become of their jobs and sessions."""

import uuid
from dataclasses import replace

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import FIRST
from tests.stored.own_link import LINKS
from tests.stored.shelf import customer

ISSUED, INVITED, HELD = JobState.ISSUED, JobState.INVITED, JobState.HELD
EXPIRED, LIVE = SessionState.EXPIRED, SessionState.WAITING
RESENT, OTHER = "resend-1", uuid.UUID(int=1)
ENDED = Reason.SESSION_ENDED


def becomes(shelf, *, links=None, kind=FIRST, session=LIVE, **job):
    """Why the message of such a job and session is not claimed; None: it is."""
    name = f"C-{len(shelf.rows(Job))}"
    shelf.add(customer(name))
    shelf.issue()
    message = shelf.row(InvitationRow, job_id=shelf.job(name).id)
    shelf.set(SessionRow, SessionRow.customer_id == name, state=session)
    shelf.set(InvitationRow, InvitationRow.id == message.id, kind=kind)
    shelf.set(Job, Job.customer_id == name, **job)
    shelf.message_policy = replace(shelf.message_policy, stable=links)
    if shelf.claim_messages():
        return None
    row = shelf.row(InvitationRow, id=message.id)
    assert row.state is InvitationState.SUPERSEDED
    return Reason(row.reason)


def test_a_message_leaves_only_while_its_session_and_its_job_wait_for_the_customer(shelf):
    cases = [
        *(
            (ISSUED, session, FIRST, {}, None if session in {*LIVE_SESSIONS, EXPIRED} else ENDED)
            for session in SessionState
        ),
        *(
            (state, LIVE, RESENT, {}, ENDED if state in (JobState.COMPLETED, JobState.LAPSED) else None)
            for state in JobState
        ),
        (INVITED, EXPIRED, FIRST, {}, ENDED),
        (ISSUED, EXPIRED, RESENT, {}, ENDED),
        (ISSUED, EXPIRED, FIRST, {"session_id": OTHER}, ENDED),
        (ISSUED, LIVE, FIRST, {"session_id": OTHER}, None),
    ]
    found = [becomes(shelf, session=session, state=state, kind=kind, **job) for state, session, kind, job, _ in cases]
    assert [(case, got) for case, got in zip(cases, found, strict=True) if got is not case[-1]] == []


def test_with_our_own_link_a_message_leaves_whatever_its_session_has_become(shelf):
    cases = [
        *((state, EXPIRED, FIRST, {}, ENDED if state in ENDED_JOBS else None) for state in JobState),
        *((INVITED, session, FIRST, {}, None) for session in SessionState),
        (INVITED, EXPIRED, FIRST, {"session_id": OTHER}, ENDED),
        (INVITED, EXPIRED, RESENT, {"session_id": OTHER}, None),
        (JobState.FAILED, LIVE, FIRST, {}, None),
    ]
    found = [
        becomes(shelf, links=LINKS, session=session, state=state, kind=kind, **job)
        for state, session, kind, job, _ in cases
    ]
    assert [(case, got) for case, got in zip(cases, found, strict=True) if got is not case[-1]] == []


@pytest.mark.parametrize("links", [None, LINKS])
def test_no_link_leaves_for_an_address_that_may_be_another_persons(shelf, links):
    cases = [
        (HELD, Reason.NOT_ME, Reason.NOT_ME),
        (HELD, Reason.ANSWER_REPEATED, Reason.ANSWER_REPEATED),
        (HELD, Reason.UNKNOWN, None),
        (ISSUED, Reason.NOT_ME, None),
    ]
    found = [becomes(shelf, links=links, state=state, reason=reason) for state, reason, _ in cases]
    assert found == [expected for *_, expected in cases]


def test_the_message_of_a_cancelled_job_ends_and_its_job_too_unless_it_is_being_worked(shelf):
    now = shelf.clock()
    for state in sorted({*JobState} - ENDED_JOBS):
        assert becomes(shelf, state=state, cancelled_at=now) is Reason.CANCELLED
        assert becomes(shelf, state=state, cancelled_at=now, links=LINKS) is Reason.CANCELLED
        assert {job.state for job in shelf.rows(Job)[-2:]} == {
            state if state is JobState.WORKING else JobState.CANCELLED
        }


def test_the_message_of_an_erased_customer_ends_for_that(shelf):
    erased = {"state": JobState.CANCELLED, "reason": Reason.ERASED, "cancelled_at": shelf.clock()}
    assert becomes(shelf, **erased) is Reason.ERASED
