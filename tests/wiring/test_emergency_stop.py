"""A person stops everything: no call begins after the stop holds, and a resume loses nothing."""

import asyncio

from onboarding_worker.core.database.tables import Attempt, Job
from onboarding_worker.core.model.states import NOT_SENT, InvitationState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.wiring.runner import STOP_HOLDS_AFTER
from onboarding_worker.wiring.sweep import Sweep
from tests.simulated.stalling import Stalling
from tests.simulated.world import customer


def stop(world) -> None:
    world.parts.emergency_stops.stop(by="ada", reason="the wrong template", now=world.clock())


async def test_no_call_begins_once_a_stop_holds_and_what_was_in_flight_ends(make):
    """While calls are quick, rows are opened ahead of them. Then the calls become slow, and end long after the stop:
    the rows that were opened behind them are not called when the permits become free."""

    async def answer(_):
        await asyncio.sleep(0.001 if len(world.http.requests) < 60 else 5)
        return world.session()

    world = make(answer, concurrency=3)
    world.add_many(120)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(62)
    opened = [row for row in world.rows(Attempt) if row.closed_at is None]
    assert len(opened) > 10

    stop(world)
    await asyncio.sleep(STOP_HOLDS_AFTER.total_seconds())
    asked = len(world.asked)
    assert world.parts.emergency_stops.in_flight(now=world.clock()) == {"kyc": 3}
    assert await going is False

    assert len(world.asked) == asked
    assert world.states() == {"issued": asked, "waiting": 120 - asked}
    assert not [row for row in world.rows(Job) if row.lease_until is not None]
    assert not [row for row in world.rows(Attempt) if row.closed_at is None]
    assert world.parts.emergency_stops.in_flight(now=world.clock()) == {}
    await runner.close()


async def test_a_message_whose_connection_came_after_a_stop_does_not_leave(make):
    sender = Stalling(seconds=5)
    world = make(senders={"email": sender})
    world.add(customer("Ona"))
    await world.issue()
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.invite("email")))
    await asyncio.sleep(1)
    stop(world)
    await going

    assert sender.messages == []
    assert (world.message().state, world.message().attempts) == (InvitationState.WAITING, 0)
    assert {row.outcome for row in world.rows(Attempt)} == {"done", NOT_SENT}

    world.parts.emergency_stops.go_on(now=world.clock())
    await runner.serve(WakeUp.invite("email"))
    assert len(sender.messages) == 1
    await runner.close()


async def test_calls_that_wait_for_their_slots_are_not_made_after_a_stop(make):
    world = make(limits=["20/second"])
    world.add_many(60)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(5)

    stop(world)
    began = world.clock.elapsed
    await going

    assert world.clock.elapsed - began < 3
    assert 5 <= len(world.asked) <= 25  # what a second allows, at most
    await runner.close()


async def test_a_stopped_worker_sends_no_message_and_goes_on_after_the_resume(make):
    world = make()
    world.add_many(10)
    await world.issue()
    stop(world)

    assert await world.tick() is False
    await world.serve(WakeUp.invite("email"), WakeUp.issue("kyc"))
    world.add(customer("Late"))  # a list that comes while everything is stopped is kept
    await world.serve(WakeUp.issue("kyc"))
    assert (world.senders["email"].messages, len(world.asked)) == ([], 10)

    world.parts.emergency_stops.go_on(now=world.clock())
    await world.work()
    assert (len(world.senders["email"].messages), len(world.asked)) == (11, 11)
    assert world.states() == {"invited": 11}


async def test_the_sweep_still_does_what_sends_nothing_while_everything_is_stopped(make):
    world = make()
    batch = world.add_many(3)
    stop(world)
    world.parts.decisions.pause(batch, by="ada", now=world.clock())
    looked = Sweep(world.parts).look()
    assert (looked.accounts, looked.channels) == (frozenset(), frozenset())
    assert "audit" in looked.steps
