"""Blocking code of the store on an event loop: where it waits for PostgreSQL, the loop goes on with other work.

    await on_loop(function, *arguments)     runs the function in a greenlet, by SQLAlchemy's bridge for asyncio drivers

Plain: a thread. But a thread and a loop that take turns at the interpreter run on two cores, and each turn moves what
they both use from one core's caches to the other's (docs/decisions/0037-transactions-on-the-loop.md).

Gain: 46 of 140 microseconds of a worker for a session, on a quick machine. Leans on SQLAlchemy's `greenlet_spawn`,
`await_` and `in_greenlet`, and on psycopg's `wait_async` and `Connection.wait` (`postgresql_engine`).
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.util import await_, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from worker.core.database import fast
from worker.core.database.fast import Twin
from worker.core.database.outages import outlive_deadlocks

T = TypeVar("T")

is_on_loop: Callable[[], bool] = in_greenlet  # whether the caller runs in `on_loop`


async def on_loop(function: Callable[..., T], *arguments: Any) -> T:
    """Run blocking code of the store, and await it.

    Cancelling the caller does not end a transaction that has begun, as it would not end a thread.
    """
    return await asyncio.shield(asyncio.ensure_future(greenlet_spawn(function, *arguments)))


def elsewhere(function: Callable[[], T]) -> T:
    """Call a function that waits for more than PostgreSQL's answers: on a loop in a thread, elsewhere here."""
    if not is_on_loop():
        return function()
    return await_(asyncio.get_running_loop().run_in_executor(None, function))


def pause(seconds: float) -> None:
    """On a loop: as `time.sleep`."""
    await_(asyncio.sleep(seconds))


# At most so many transactions wait for one budget's row, however many accounts share it: a worker that stands still may
# keep the row locked for seconds, and the other accounts go on.
CALLS_OF_A_BUDGET = 3


class StoreCalls:
    """How a loop makes blocking calls to the store: transactions on PostgreSQL on the loop, others in threads. SQLite
    has one writer: a single thread queues here instead of at the file's lock.

    For one loop, made on it. A transaction that PostgreSQL ended because of a deadlock is repeated: it has changed
    nothing."""

    def __init__(self, budgets: Iterable[str], *, threads: int, on_the_loop: int) -> None:
        """`on_the_loop`: how many transactions may run on the loop at once; 0: they run in threads."""
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="database")
        self._on_the_loop = asyncio.Semaphore(on_the_loop) if on_the_loop and Twin.ON_LOOP not in fast.plain else None
        self._turns = {name: asyncio.Semaphore(CALLS_OF_A_BUDGET) for name in budgets}

    async def in_turn(self, budget: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a dispatcher's call, when it is the turn of this budget."""
        async with self._turns[budget]:
            if self._on_the_loop is None:
                return await self.in_thread(function, *arguments)
            async with self._on_the_loop:
                call = partial(function, *arguments)
                return await on_loop(partial(outlive_deadlocks, call, pause=pause))

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a call that may take long, or that waits for more than the database."""
        call = partial(outlive_deadlocks, partial(function, *arguments))
        # With the caller's context: log lines have the ids of what is worked.
        here = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, here.run, call)

    def close(self) -> None:
        """End the threads, when their work is done."""
        self._threads.shutdown(wait=True)
