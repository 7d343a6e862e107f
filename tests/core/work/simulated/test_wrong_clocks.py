"""One machine's clock steps, or one process has the wrong time: no other process and no customer notices."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.wiring.sweep import Sweep
from onboarding_worker.wiring.work import issue_work
from tests.simulated.events import cancelled, outcomes, requested
from tests.simulated.world import customer

HOUR = timedelta(hours=1)
LIMITS = ["10/second"]


class Machine:
    """A machine: its clock is the virtual one and `step`, its seconds are the loop's."""

    def __init__(self, clock):
        self._clock, self.step = clock, timedelta(0)

    def __call__(self):
        return self._clock() + self.step

    def process_clock(self):
        return ProcessClock(self, lambda: self._clock.elapsed)


async def step(machine, by, *, at, back_at):
    await asyncio.sleep(at)
    machine.step = by
    await asyncio.sleep(back_at - at)
    machine.step = timedelta(0)


@pytest.mark.parametrize("by", [HOUR, -HOUR, timedelta(days=8)])
async def test_a_step_of_the_machines_clock_delays_nothing_and_costs_nothing(make, clock, by):
    machine = Machine(clock)
    world = make(limits=LIMITS, process_clock=machine.process_clock())
    world.add_many(100)

    await asyncio.gather(world.work(), step(machine, by, at=1, back_at=11))

    assert world.states() == {"invited": 100}
    assert len(world.asked) == len(set(world.asked)) == 100
    assert clock.elapsed < 15


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_dispatcher_goes_on_and_ends_in_time_when_its_time_is_set_anew(make, clock, by):
    """The database's own clock was set: each process follows it, and nobody stands still for the difference."""
    machine = Machine(clock)
    world = make(limits=LIMITS, process_clock=machine)
    world.add_many(100)
    runner = world.start()

    await asyncio.gather(runner.serve(WakeUp.issue("kyc")), step(machine, by, at=1, back_at=6))
    ended_at = clock.elapsed
    await runner.close()
    await world.work()

    assert ended_at < 15  # a hundred calls take ten seconds
    assert len(world.asked) == len(set(world.asked)) == 100


async def test_a_dispatcher_whose_time_was_set_back_stops_when_it_is_told_to(make, clock):
    machine = Machine(clock)
    world = make(limits=LIMITS, process_clock=machine)
    world.add_many(100)
    runner = world.start()
    serving = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await asyncio.sleep(1)
    machine.step = -HOUR
    await asyncio.sleep(1)

    runner.stop()
    await serving

    assert clock.elapsed < 5
    await runner.close()


@pytest.mark.parametrize("by", [HOUR, timedelta(days=8)])
async def test_a_process_that_is_ahead_ends_no_lease_and_no_session_of_the_others(make, clock, by):
    world = make()
    wrong = make(process_clock=Machine(clock))
    world.add(customer("Ona"), customer("Jonas"))
    await world.work()
    world.add(customer("Rasa"))
    slow = world.parts.jobs.flush(world_policy(world), [], Room(1, 0), clock=clock)
    assert [one.customer.customer_id for one in slow.opened] == ["Rasa"]
    before = world.rows(Job), world.rows(SessionRow), world.rows(InvitationRow)
    wrong.parts.clock.step = by

    Sweep(wrong.parts).end_leases()
    wrong.look_after()
    for step in wrong.parts.sweep_steps:
        step(Sweep(wrong.parts).look())

    assert (world.rows(Job), world.rows(SessionRow), world.rows(InvitationRow)) == before
    assert world.job("Rasa").state is JobState.WORKING


def world_policy(world):
    return issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None).policy


async def test_a_process_that_is_ahead_leaves_the_account_to_the_others(make, clock):
    world = make(limits=LIMITS)
    wrong = make(lambda _: world.session(), limits=LIMITS, process_clock=Machine(clock))  # one provider
    world.add_many(40)
    wrong.parts.clock.step = HOUR
    wrong.longest = timedelta(seconds=1)
    await wrong.issue()
    began = clock.elapsed

    await world.work()

    asked = world.asked + wrong.asked
    assert len(asked) == len(set(asked)) == 40
    assert clock.elapsed - began < 40
    assert world.states()["invited"] == len(world.asked) > 20  # the messages of the others wait for the wrong time


@pytest.mark.parametrize("has_time", [False, True], ids=["without-a-time", "with-a-time"])
async def test_a_request_counts_that_a_process_takes_which_is_behind(make, clock, has_time):
    """Its own time for the receipt is before the cancellation, and the event's true time is in its future."""
    world = make()
    wrong = make(process_clock=Machine(clock))
    wrong.parts.clock.step = -timedelta(minutes=1)
    world.receiver().receive([requested("Ona"), cancelled("Jonas")])
    clock.advance(seconds=5)
    true_time = {"occurred_at": clock()} if has_time else {}

    found = wrong.receiver().receive([requested("Jonas", of=true_time)])

    assert outcomes(found) == ["taken"]
    assert world.job("Jonas").state is JobState.WAITING
