import uuid
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import BATCH, InvitationState, JobState
from onboarding_worker.core.rows.message_rows import move_messages, set_job_states
from tests.stored.shelf import customer


def states(shelf, *names):
    return {(shelf.job(name).state, shelf.job(name).reason) for name in names}


@pytest.mark.parametrize("other", [None, *InvitationState])
def test_a_job_whose_first_message_was_sent_moves_as_all_its_messages_decide(shelf, other):
    for name in ("Ona", "Jonas"):
        shelf.add(customer(name, channel=Channel.EMAIL if other is None else Channel.BOTH))
        shelf.issue()
    shelf.set(InvitationRow, InvitationRow.channel == "email", state=InvitationState.SENT)
    if other is not None:
        shelf.set(InvitationRow, InvitationRow.channel == "sms", state=other, reason="a reason")
    ona, jonas = shelf.job("Ona"), shelf.job("Jonas")
    with shelf.database.write() as connection:
        set_job_states(connection, [ona.id], sent={ona.id: ona.session_id}, now=shelf.clock())
        set_job_states(connection, [jonas.id], now=shelf.clock())
    assert len(states(shelf, "Ona", "Jonas")) == 1
    if other is not InvitationState.HELD:
        assert states(shelf, "Ona") == {(JobState.INVITED, "")}


def test_a_sent_message_of_an_earlier_session_leaves_its_job_issued(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    job = shelf.job("Ona")
    with shelf.database.write() as connection:
        set_job_states(connection, [job.id], sent={job.id: uuid.uuid4()}, now=shelf.clock())
    assert states(shelf, "Ona") == {(JobState.ISSUED, "")}


@pytest.mark.parametrize("state", JobState)
def test_only_an_issued_or_invited_job_follows_its_messages(shelf, state):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.set(InvitationRow, state=InvitationState.FAILED, reason="no", detail="why")
    shelf.set(Job, Job.customer_id == "Ona", state=state)
    shelf.clock.advance(hours=1)
    before = shelf.job("Jonas")
    with shelf.database.write() as connection:
        set_job_states(connection, [shelf.job("Ona").id], now=shelf.clock())
    after = shelf.job("Ona")
    if state in (JobState.ISSUED, JobState.INVITED):
        assert (after.state, after.reason, after.changed_at) == (JobState.FAILED, "no", shelf.clock())
    else:
        assert (after.state, after.reason) == (state, "")
    assert shelf.job("Jonas") == before


SENT, FAILED, HELD = InvitationState.SENT, InvitationState.FAILED, InvitationState.HELD
BOUNCED, WAITING = InvitationState.BOUNCED, InvitationState.WAITING


@pytest.mark.parametrize(
    ("email", "text", "expected"),
    [
        ((FAILED, "a"), (FAILED, "b"), (JobState.FAILED, "b")),  # the last one explains it
        ((FAILED, "a"), (FAILED, ""), (JobState.FAILED, "a")),
        ((FAILED, "a"), (BOUNCED, "b"), (JobState.FAILED, "a")),  # one that failed rather than one that came back
        ((BOUNCED, "b"), (BOUNCED, ""), (JobState.FAILED, "b")),
        ((FAILED, ""), (BOUNCED, "b"), (JobState.FAILED, "b")),
        ((HELD, "unknown"), (FAILED, "a"), (JobState.HELD, "unknown")),
        ((HELD, ""), (FAILED, "a"), (JobState.HELD, "")),
        ((HELD, "unknown"), (SENT, ""), (JobState.HELD, "unknown")),
        ((SENT, ""), (FAILED, "a"), (JobState.INVITED, "")),
        ((SENT, ""), (FAILED, "messages_spent"), (JobState.INVITED, "")),
        ((FAILED, "messages_spent"), (FAILED, "a"), (JobState.LAPSED, "messages_spent")),
        ((BOUNCED, "b"), (FAILED, "messages_spent"), (JobState.LAPSED, "messages_spent")),
        ((HELD, "unknown"), (FAILED, "messages_spent"), (JobState.HELD, "unknown")),
        ((FAILED, "a"), (WAITING, ""), (JobState.ISSUED, "")),
        ((InvitationState.SUPERSEDED, "a"), (InvitationState.SUPERSEDED, "b"), (JobState.ISSUED, "")),
    ],
)
def test_a_job_has_the_reason_of_the_message_that_explains_its_state(shelf, email, text, expected):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    later = shelf.clock() + timedelta(seconds=1)
    for channel, (state, reason), at in (("email", email, shelf.clock()), ("sms", text, later)):
        values = {"state": state, "reason": reason, "detail": f"of {reason}", "created_at": at}
        shelf.set(InvitationRow, InvitationRow.channel == channel, **values)
    with shelf.database.write() as connection:
        set_job_states(connection, [shelf.job("Ona").id], now=shelf.clock())
    job = shelf.job("Ona")
    assert (job.state, job.reason) == expected
    assert job.detail == (job.reason and f"of {job.reason}")


def test_only_first_messages_of_its_present_session_decide_about_a_job(shelf):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    ona = shelf.job("Ona")
    text = InvitationRow.channel == "sms"
    shelf.set(InvitationRow, state=SENT)
    for values in ({"kind": "reminder-1"}, {"session_id": uuid.uuid4()}, {"job_id": ona.id + 1}):
        shelf.set(InvitationRow, text, state=HELD, reason="unknown", **values)
        with shelf.database.write() as connection:
            set_job_states(connection, [ona.id], sent={ona.id: ona.session_id}, now=shelf.clock())
        assert states(shelf, "Ona") == {(JobState.INVITED, "")}
        shelf.set(InvitationRow, text, kind="invitation", session_id=ona.session_id, job_id=ona.id)
    with shelf.database.write() as connection:
        set_job_states(connection, [ona.id], now=shelf.clock())
    assert states(shelf, "Ona") == {(JobState.HELD, "unknown")}


@pytest.mark.both_databases
def test_messages_move_with_their_attempts_alone_and_others_stay(shelf):
    first, second = shelf.add(customer("Ona")), shelf.add(customer("Jonas"))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages())
    ona, jonas = shelf.job("Ona"), shelf.job("Jonas")
    mine = InvitationRow.job_id == ona.id
    with shelf.database.write() as connection:
        move_messages(connection, mine & (InvitationRow.kind == "reminder-1"), jonas.id, batch_id=second)
    assert {row.job_id for row in shelf.rows(InvitationRow)} == {ona.id, jonas.id}
    with shelf.database.write() as connection:
        move_messages(connection, mine, jonas.id, batch_id=None, priority=7)
    moved, own = sorted(shelf.rows(InvitationRow), key=lambda row: row.priority)
    assert [(row.job_id, row.batch_id) for row in (moved, own)] == [(jonas.id, first), (jonas.id, second)]
    assert (moved.priority, own.priority) == (7, BATCH)
    attempts = {row.invitation_id: (row.job_id, row.batch_id) for row in shelf.rows(Attempt, account="email")}
    assert attempts == {moved.id: (jonas.id, first), own.id: (jonas.id, second)}
    assert {row.job_id for row in shelf.rows(Attempt, account="kyc")} == {ona.id, jonas.id}
    with shelf.database.write() as connection:
        move_messages(connection, InvitationRow.id == moved.id, ona.id, batch_id=second)
    assert shelf.row(Attempt, invitation_id=moved.id).batch_id == second
