"""A worker inside a command is interrupted: it claims nothing more from that moment on, and ends what features do."""

from contextlib import AsyncExitStack

from onboarding_worker.runtime.embedded import Embedded
from onboarding_worker.wiring.runner import Runner
from tests.simulated.world import customer


def embedded_in(world, **more) -> Embedded:
    async def open_runner(parts, *, wake_invite):
        return Runner(parts, world.http, AsyncExitStack(), wake_invite=wake_invite, longest=world.longest)

    return Embedded(world.parts, open_runner=open_runner, **more)


async def test_dispatchers_claim_nothing_more_from_the_interrupt_on_and_not_only_from_the_next_tick_on(make):
    """A tick that is under way waits for its turns at the database: on SQLite behind all that dispatchers do."""
    world = make()
    world.add(customer("Ona"), customer("Ben"))
    async with embedded_in(world) as embedded:
        await embedded.tick()
        embedded.interrupt()
        await embedded.runner.wait_until_idle()
        assert world.states() == {"waiting": 2}
    assert not world.asked


class Counts:
    steps = ends = 0

    def step(self) -> None:
        self.steps += 1

    def close(self) -> None:
        self.ends += 1


async def test_the_work_of_features_is_stepped_at_each_tick_and_ended_at_the_end(make):
    world, work = make(), Counts()
    async with embedded_in(world, work=[work]) as embedded:
        for _ in range(2):
            await embedded.tick()
        assert (work.steps, work.ends) == (2, 0)
    assert (work.steps, work.ends) == (2, 1)
