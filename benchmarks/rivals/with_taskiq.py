"""`taskiq worker benchmarks.rivals.with_taskiq:broker`.

`python -m benchmarks.rivals.with_taskiq ROWS` makes the tasks.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

from benchmarks.rivals.opening import Opening, customers, opening

broker = ListQueueBroker(os.environ["RIVAL_BROKER"], socket_timeout=None)
_exits = AsyncExitStack()
_opening: list[Opening] = []


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def begin(_state: TaskiqState) -> None:
    _opening.append(await _exits.enter_async_context(opening()))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def end(_state: TaskiqState) -> None:
    await _exits.aclose()


@broker.task(task_name="issue")
async def issue(customer_id: str) -> None:
    await _opening[0].issue(customer_id)


async def main(rows: int) -> None:
    await broker.startup()
    for customer_id in customers(rows):
        await issue.kiq(customer_id)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
