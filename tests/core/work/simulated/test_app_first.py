"""The session is opened at once, and the invitation waits for the app."""

from datetime import timedelta

from onboarding_worker.core.database.tables import SessionRow
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.states import InvitationState, SessionState
from tests.simulated.events import cancelled, requested


async def test_the_invitation_waits_for_the_app_while_the_session_is_opened_at_once(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    began = world.clock()
    await world.work()
    message = world.message()
    assert (message.state, message.due_at) == (InvitationState.WAITING, began + timedelta(minutes=30))
    batch = world.parts.batches.find("latest")
    told = world.parts.reporting.status(batch)
    assert told["forecast"]["finishes_at"] == written(message.due_at)
    world.clock.advance(minutes=30)
    await world.work()
    assert (len(world.senders["email"].messages), len(world.asked)) == (1, 1)


async def test_a_customer_who_finished_in_the_app_gets_no_message(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    await world.work()
    world.set(SessionRow, state=SessionState.COMPLETED)
    world.clock.advance(minutes=31)
    await world.work()
    assert (world.senders["email"].messages, world.message().state) == ([], InvitationState.SUPERSEDED)


async def test_the_time_in_the_app_counts_from_the_event_not_from_its_arrival(inlet):
    world, receiver = inlet()
    an_hour_ago = world.clock() - timedelta(minutes=25)
    receiver.receive([requested("C-1", of={"occurred_at": an_hour_ago}, invite_after="30 minutes")])
    await world.work()
    assert world.message().due_at == an_hour_ago + timedelta(minutes=30)


async def test_the_message_of_a_live_session_waits_for_the_app_too(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", invite_after="30 minutes")])
    await world.work()
    receiver.receive([cancelled("C-1")])
    receiver.receive([requested("C-1", invite_after="50 minutes")])
    began = world.clock()
    await world.work()
    assert (len(world.asked), world.message().due_at) == (1, began + timedelta(minutes=50))
