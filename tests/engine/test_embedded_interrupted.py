"""A worker inside a command is interrupted: it claims nothing more from that moment on."""

from contextlib import AsyncExitStack

from tests.simulated.world import customer
from worker.runtime.embedded import Embedded
from worker.wiring.runner import Runner


async def test_dispatchers_claim_nothing_more_from_the_interrupt_on_and_not_only_from_the_next_tick_on(make):
    """A tick that is under way waits for its turns at the database: on SQLite behind all that dispatchers do."""
    world = make()
    world.add(customer("Ona"), customer("Ben"))

    async def open_runner(parts, *, wake_invite):
        return Runner(parts, world.http, AsyncExitStack(), wake_invite=wake_invite, longest=world.longest)

    async with Embedded(world.parts, open_runner=open_runner) as embedded:
        await embedded.tick()
        embedded.interrupt()
        await embedded.runner.wait_until_idle()
        assert world.states() == {"waiting": 2}
    assert not world.asked
