"""Who gets the present link once more, and by which channels."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import BATCH, EVENT, InvitationState, JobState
from onboarding_worker.core.upkeep.sent_again import send_again
from tests.core.upkeep.test_expired_sessions import invited
from tests.stored.shelf import customer

WAITING, SENT = InvitationState.WAITING, InvitationState.SENT


@pytest.fixture
def sent_again(shelf):
    """Sends links again to these customers' kinds of addresses; returns the new messages of each."""

    def run(wanted):
        sessions = {row.customer_id: row.id for row in shelf.rows(SessionRow)}
        before = {row.id for row in shelf.rows(InvitationRow)}
        with shelf.database.write() as connection:
            given = {sessions[name]: kinds for name, kinds in wanted.items()}
            send_again(connection, given, due_at=shelf.clock() + timedelta(hours=1), now=shelf.clock())
        names = {id_: name for name, id_ in sessions.items()}
        new = [row for row in shelf.rows(InvitationRow) if row.id not in before]
        assert {(row.state, row.due_at, row.created_at) for row in new} <= {
            (WAITING, shelf.clock() + timedelta(hours=1), shelf.clock())
        }
        return sorted((names[row.session_id], row.channel, row.kind) for row in new)

    return run


@pytest.mark.both_databases
def test_each_customer_who_is_invited_gets_one_by_the_channels_of_these_addresses(shelf, sent_again):
    invited(shelf, *(customer(name, channel=Channel.BOTH) for name in ("Both", "Email", "Held", "Text", "Unasked")))
    shelf.set(Job, Job.customer_id == "Held", state=JobState.HELD)
    kinds = {"Both": ("email", "phone"), "Email": ("email",), "Held": ("email",), "Text": ("phone",)}
    expected = [("Both", "email"), ("Both", "sms"), ("Email", "email"), ("Text", "sms")]
    assert sent_again(kinds) == [(*one, "resend-1") for one in expected]
    assert sent_again({}) == []


@pytest.mark.parametrize(
    ("kind", "state", "kinds"),
    [
        ("invitation", WAITING, []),
        ("invitation", SENT, ["resend-1"]),
        ("invitation", InvitationState.BOUNCED, ["resend-1"]),
        ("reminder-1", WAITING, ["resend-1"]),
        ("resend-1", WAITING, []),
        ("resend-1", SENT, ["resend-2"]),
    ],
)
def test_a_message_that_leaves_anyhow_is_not_followed_by_another_one(shelf, sent_again, kind, state, kinds):
    invited(shelf)
    shelf.set(InvitationRow, kind=kind, state=state)
    assert [one[2] for one in sent_again({"Ona": ("email",)})] == kinds


def test_a_message_of_a_channel_that_this_release_does_not_have_is_not_sent_again(shelf, sent_again):
    invited(shelf)
    shelf.set(InvitationRow, channel="pigeon")
    assert sent_again({"Ona": ("email", "phone")}) == []


@pytest.mark.parametrize("first_leads", [True, False])
def test_it_is_a_message_of_the_row_that_leads_with_its_priority(shelf, sent_again, first_leads):
    invited(shelf, priority=EVENT)
    second = shelf.add(customer("Ona"))
    session = shelf.row(SessionRow)
    shelf.set(Job, Job.batch_id == second, session_id=session.id, state=JobState.INVITED)
    if not first_leads:
        of_second = shelf.row(Job, batch_id=second).id
        shelf.set(Job, Job.batch_id != second, leader_id=of_second, priority=BATCH)
        shelf.set(Job, Job.batch_id == second, leader_id=None, priority=EVENT)
    assert sent_again({"Ona": ("email",)}) == [("Ona", "email", "resend-1")]
    lead, message = shelf.row(Job, leader_id=None), shelf.row(InvitationRow, kind="resend-1")
    assert (message.job_id, message.batch_id, message.priority) == (lead.id, lead.batch_id, EVENT)
