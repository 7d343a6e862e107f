"""A worker inside a command says once that its database is away, and once that it is back."""

import logging
from contextlib import AsyncExitStack

import sqlalchemy as sa

from tests.simulated.world import customer
from worker.engine.runner import Runner
from worker.runtime.embedded import Embedded

READ_ONLY = sa.exc.OperationalError("UPDATE", None, Exception("cannot execute UPDATE in a read-only transaction"))


async def test_while_rows_can_be_found_and_not_claimed_it_says_so_once(make, caplog):
    caplog.set_level(logging.INFO, logger="worker.runtime.embedded")
    world = make()
    world.add(customer("Ona"))
    flush, away = world.parts.jobs.flush, True

    def flush_or_fail(*arguments, **how):
        if away:
            raise READ_ONLY
        return flush(*arguments, **how)

    world.parts.jobs.flush = flush_or_fail

    async def open_runner(parts, *, wake_invite):
        return Runner(parts, world.http, AsyncExitStack(), wake_invite=wake_invite, longest=world.longest)

    async with Embedded(world.parts, open_runner=open_runner) as embedded:
        for number in range(40):
            away = number < 20
            if await embedded.tick():
                embedded.log_back()
            await embedded.rest()
    assert caplog.messages == [
        "the database cannot be reached; trying again: cannot execute UPDATE in a read-only transaction",
        "the database is back",
    ]
    assert world.states() == {"invited": 1}
