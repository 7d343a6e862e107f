"""How a loop makes blocking calls to the store: transactions on PostgreSQL on the loop itself, all others in threads.

SQLite has one writer: a single thread queues here instead of at the file's lock.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from worker.core.database import on_loop
from worker.core.database.outages import outlive_deadlocks

# At most so many transactions wait for one budget's row, however many accounts share it: a worker that stands still may
# keep the row locked for seconds, and the other accounts go on.
CALLS_OF_A_BUDGET = 3


class StoreCalls:
    """For one loop, made on it. A transaction that PostgreSQL ended because of a deadlock is repeated: it has changed
    nothing."""

    def __init__(self, budgets: Iterable[str], *, threads: int, on_the_loop: int) -> None:
        """`on_the_loop`: how many transactions may run on the loop at once; 0: they run in threads."""
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="database")
        self._on_the_loop = asyncio.Semaphore(on_the_loop) if on_the_loop else None
        self._turns = {name: asyncio.Semaphore(CALLS_OF_A_BUDGET) for name in budgets}

    async def in_turn(self, budget: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a dispatcher's call, when it is the turn of this budget."""
        async with self._turns[budget]:
            if self._on_the_loop is None:
                return await self.in_thread(function, *arguments)
            async with self._on_the_loop:
                call = partial(function, *arguments)
                return await on_loop.on_loop(partial(outlive_deadlocks, call, pause=on_loop.pause))

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a call that may take long, or that waits for more than the database."""
        call = partial(outlive_deadlocks, partial(function, *arguments))
        # With the caller's context: log lines have the ids of what is worked.
        here = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, here.run, call)

    def close(self) -> None:
        """End the threads, when their work is done."""
        self._threads.shutdown(wait=True)
