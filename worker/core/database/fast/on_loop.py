"""Blocking code of the store on an event loop: where it waits for PostgreSQL, the loop goes on with other work.

    await on_loop(function, *arguments)     runs the function in a greenlet, by SQLAlchemy's bridge for asyncio drivers

Plain: a thread. But a thread and a loop that take turns at the interpreter run on two cores, and each turn moves what
they both use from one core's caches to the other's (docs/decisions/0037-transactions-on-the-loop.md).

Gain: 46 of 140 microseconds of a worker for a session, on a quick machine. Leans on SQLAlchemy's `greenlet_spawn`,
`await_` and `in_greenlet`, and on psycopg's `wait_async` and `Connection.wait` (`postgresql_engine`).
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.util import await_, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

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
