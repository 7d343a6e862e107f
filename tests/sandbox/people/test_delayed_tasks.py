"""Tasks that run later, in a time that runs faster than real time."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_sandbox.people.webhook_sender import DelayedTasks
from tests.suite.waiting import ENDS_WITHIN

HOUR = timedelta(hours=1)
HOUR_A_CENTISECOND = 360_000


@pytest.fixture
async def delayed():
    delayed = DelayedTasks(HOUR_A_CENTISECOND)
    yield delayed
    await delayed.stop()


async def test_tasks_run_in_the_order_of_their_times(delayed):
    done = []

    async def do(name):
        done.append(name)

    for after, name in ((30, "last"), (10, "first"), (20, "second")):  # far apart: a loop may stand still for a while
        delayed.later(after * HOUR, lambda name=name: do(name))
    await asyncio.wait_for(delayed.idle(), ENDS_WITHIN)
    assert done == ["first", "second", "last"]


async def test_a_task_may_add_another(delayed):
    done = []

    async def do():
        done.append(1)
        if len(done) < 3:
            delayed.later(HOUR, do)

    delayed.later(HOUR, do)
    await asyncio.wait_for(delayed.idle(), ENDS_WITHIN)
    assert len(done) == 3


async def test_a_cancelled_task_never_runs(delayed):
    done = []

    async def do():
        done.append(1)

    delayed.later(HOUR, do)
    delayed.forget()
    await asyncio.wait_for(delayed.idle(), ENDS_WITHIN)
    await delayed.wait(20 * HOUR)
    assert done == []


async def test_a_task_that_fails_is_reported(delayed):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))

    async def do():
        raise RuntimeError

    delayed.later(HOUR, do)
    await asyncio.wait_for(delayed.idle(), ENDS_WITHIN)
    await asyncio.sleep(0)
    assert reported == ["the sandbox failed"]
