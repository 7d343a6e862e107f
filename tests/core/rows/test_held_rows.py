"""Rows that are held: those that are named, in the states that are named, with the call that may still be open."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rows.row_by_row import hold_back, hold_jobs, hold_messages
from tests.stored.shelf import customer

EARLIER = UUID(int=1)


def attempt_like(shelf, row, **values):
    """Another attempt beside this one. Returns its id."""
    values = {**row._mapping, "id": uuid4(), **values}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(Attempt).values(values))
    return values["id"]


def in_store(shelf, statement, *given, **how):
    with shelf.database.write() as connection:
        statement(connection, *given, now=shelf.clock(), **how)


CALLS = [
    ({}, {}, "its call"),
    ({}, {"closed_at": timedelta(0)}, None),
    ({}, {"reconciles": UUID(int=2)}, None),
    ({}, {"fence": 7}, None),
    ({"unknown_attempt": EARLIER}, {}, EARLIER),
]


@pytest.mark.parametrize(
    ("of_row", "of_call", "unknown"), [*CALLS, ({}, {"invitation_id": UUID(int=2)}, None)], ids=str
)
def test_a_held_job_keeps_the_call_that_may_have_opened_a_session(shelf, of_row, of_call, unknown):
    shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"))
    shelf.open(shelf.claim())
    shelf.clock.advance(minutes=1)
    ona, jonas, rasa = (shelf.job(name) for name in ("Ona", "Jonas", "Rasa"))
    shelf.set(Job, Job.id == rasa.id, state=JobState.ISSUED)
    call = shelf.row(Attempt, job_id=ona.id)
    values = {name: shelf.clock() if name == "closed_at" else value for name, value in of_call.items()}
    shelf.set(Attempt, Attempt.id == call.id, **({"detail": ""} | values))
    shelf.set(Job, Job.id == ona.id, **({"detail": ""} | of_row))
    rasa = shelf.job("Rasa")

    in_store(shelf, hold_jobs, {ona.id: "KeyError", rasa.id: "KeyError"}, states=(JobState.WORKING,))

    held = shelf.job("Ona")
    assert (held.state, held.due_at, held.lease_until, held.reason) == (JobState.HELD, None, None, "cannot_work")
    assert held.changed_at == shelf.clock()
    assert held.unknown_attempt == (call.id if unknown == "its call" else unknown)
    assert (shelf.job("Jonas"), shelf.job("Rasa")) == (jonas, rasa)


def test_each_held_row_says_what_it_raised_itself(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    raised = {shelf.job("Ona").id: "KeyError", shelf.job("Jonas").id: "ValueError"}
    in_store(shelf, hold_jobs, raised, states=(JobState.WAITING,))
    assert "KeyError" in shelf.job("Ona").detail
    assert "ValueError" in shelf.job("Jonas").detail


@pytest.mark.parametrize(
    ("of_row", "of_call", "unknown"),
    [*CALLS, ({}, {"invitation_id": None}, None), ({}, {"invitation_id": UUID(int=2)}, None)],
    ids=str,
)
def test_a_held_message_keeps_the_hand_over_that_may_have_arrived(shelf, of_row, of_call, unknown):
    shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages())
    ids = {name: shelf.row(InvitationRow, job_id=shelf.job(name).id).id for name in ("Ona", "Jonas", "Rasa")}
    shelf.set(InvitationRow, InvitationRow.id == ids["Rasa"], state=InvitationState.SENT)
    call = shelf.row(Attempt, invitation_id=ids["Ona"])
    values = {name: shelf.clock() if name == "closed_at" else value for name, value in of_call.items()}
    shelf.set(Attempt, Attempt.id == call.id, **({"detail": ""} | values))
    shelf.set(InvitationRow, InvitationRow.id == ids["Ona"], **({"detail": ""} | of_row))
    others = [shelf.row(InvitationRow, id=ids[name]) for name in ("Jonas", "Rasa")]

    raised = {ids["Ona"]: "KeyError", ids["Rasa"]: "ValueError"}
    in_store(shelf, hold_messages, raised, states=(InvitationState.WORKING,))

    held = shelf.row(InvitationRow, id=ids["Ona"])
    assert (held.state, held.due_at, held.lease_until) == (InvitationState.HELD, None, None)
    assert (held.reason, held.detail.rpartition(" ")[2]) == ("cannot_work", "KeyError")
    assert held.unknown_attempt == (call.id if unknown == "its call" else unknown)
    assert [shelf.row(InvitationRow, id=ids[name]) for name in ("Jonas", "Rasa")] == others
    assert [shelf.job(name).state for name in ("Ona", "Jonas")] == [JobState.HELD, JobState.ISSUED]


@pytest.mark.parametrize("state", SessionState)
def test_whose_link_may_be_another_persons_is_held_back_alone(shelf, state):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.clock.advance(minutes=1)
    ona, jonas = shelf.job("Ona"), shelf.job("Jonas")
    session, other = (shelf.row(SessionRow, id=job.session_id) for job in (ona, jonas))
    shelf.set(SessionRow, SessionRow.id == session.id, state=state)
    messages = [shelf.row(InvitationRow, job_id=job.id) for job in (ona, jonas)]
    shelf.set(Job, Job.id == ona.id, lease_until=shelf.clock(), due_at=shelf.clock(), link_requested_at=shelf.clock())

    in_store(shelf, hold_back, [shelf.job("Ona")], Reason.NOT_ME, {ona.id: "said so", jonas.id: "no"})

    held, ended = shelf.job("Ona"), shelf.row(SessionRow, id=session.id)
    assert (held.state, held.reason, held.detail) == (JobState.HELD, "not_me", "said so")
    assert (held.due_at, held.lease_until, held.link_requested_at) == (None, None, None)
    live = state in (SessionState.WAITING, SessionState.STARTED)
    assert ended.state == (SessionState.SUPERSEDED if live else state)
    assert ended.check_at == (None if live or state is SessionState.DEFERRED else session.check_at)
    message = shelf.row(InvitationRow, id=messages[0].id)
    assert (message.state, message.due_at, message.reason) == (InvitationState.SUPERSEDED, None, "not_me")
    assert (shelf.job("Jonas"), shelf.row(SessionRow, id=other.id)) == (jonas, other)
    assert shelf.row(InvitationRow, id=messages[1].id) == messages[1]


@pytest.mark.parametrize("state", [one for one in InvitationState if one is not InvitationState.WAITING])
def test_a_message_that_does_not_wait_stays_as_it_is_when_its_job_is_held_back(shelf, state):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(InvitationRow, state=state)
    message = shelf.row(InvitationRow)
    in_store(shelf, hold_back, [shelf.job("Ona")], Reason.NOT_ME)
    assert shelf.row(InvitationRow) == message


def test_a_job_that_is_held_for_a_reason_of_its_own_keeps_it(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(Job, state=JobState.HELD, reason="conflict", detail="two")
    before = shelf.job("Ona")
    in_store(shelf, hold_back, [before], Reason.NOT_ME)
    assert shelf.job("Ona") == before
    assert shelf.row(SessionRow).state is SessionState.SUPERSEDED
