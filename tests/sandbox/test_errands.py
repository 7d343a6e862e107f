"""What is to be done later, in a time that runs faster than ours."""

import asyncio
from datetime import timedelta

import pytest

from worker.sandbox.people.errands import Errands

HOUR = timedelta(hours=1)
HOUR_A_CENTISECOND = 360_000


@pytest.fixture
async def errands():
    errands = Errands(HOUR_A_CENTISECOND)
    yield errands
    await errands.stop()


async def test_errands_are_done_in_the_order_of_their_times(errands):
    done = []

    async def do(name):
        done.append(name)

    for after, name in ((3, "last"), (0, "first"), (1, "second")):
        errands.later(after * HOUR, lambda name=name: do(name))
    await asyncio.wait_for(errands.idle(), 30)
    assert done == ["first", "second", "last"]


async def test_an_errand_may_bring_another(errands):
    done = []

    async def do():
        done.append(1)
        if len(done) < 3:
            errands.later(HOUR, do)

    errands.later(HOUR, do)
    await asyncio.wait_for(errands.idle(), 30)
    assert len(done) == 3


async def test_what_is_forgotten_is_never_done(errands):
    done = []

    async def do():
        done.append(1)

    errands.later(HOUR, do)
    errands.forget()
    await asyncio.wait_for(errands.idle(), 30)
    await errands.wait(20 * HOUR)
    assert done == []


async def test_an_errand_that_fails_is_heard_of(errands):
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context["message"]))

    async def do():
        raise RuntimeError

    errands.later(HOUR, do)
    await asyncio.wait_for(errands.idle(), 30)
    await asyncio.sleep(0)
    assert heard == ["the sandbox failed"]
