"""Writes the results of calls, however long the database is unreachable: a call cannot be made a second time."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic

import sqlalchemy as sa

from worker.engine.dispatch.contract import ItemT, OpenedT, ResultT, Work
from worker.foundation.clock import Clock, monotonic
from worker.foundation.outage_log import Outage

log = logging.getLogger(__name__)

DATABASE_RETRY = timedelta(seconds=1)
STOP_PATIENCE = timedelta(seconds=30)  # how long a stopping worker waits for an unreachable database


class ResultWriter(Generic[ItemT, OpenedT, ResultT]):
    """Writes the results of one dispatcher's calls."""

    def __init__(
        self,
        work: Work[ItemT, OpenedT, ResultT],
        *,
        clock: Clock,
        in_thread: Callable[..., Any],
        stopping: asyncio.Event,
    ) -> None:
        self._work = work
        self._clock = clock
        self._in_thread = in_thread
        self._stopping = stopping
        self._outage = Outage(log, logging.WARNING)
        self._reason = ""
        self._gives_up_at: datetime | None = None  # set once, when the worker stops: not again for each chunk

    async def write(self, results: list[ResultT]) -> None:
        """Write results, however long the database is unreachable. A result that the database refuses is logged."""
        if not results:
            return
        try:
            await self.insist(len(results), self._work.flush, results, [])
        except sa.exc.SQLAlchemyError as error:
            if len(results) == 1:
                # Its attempt stays open: after the lease the sweep holds the row, or repeats it if that is allowed.
                log.error(
                    "%s: a result cannot be written, its attempt stays open: %s", self._work.name, type(error).__name__
                )
                return
            log.error(
                "%s: %d results could not be written together (%s); writing them one by one",
                self._work.name,
                len(results),
                type(error).__name__,
            )
            for result in results:  # one refused row must not cost the other results
                await self.write([result])

    async def insist(self, count: int, write: Callable[..., Any], *arguments: Any) -> None:
        """Call `write(*arguments, now)` until the database answers. `count` is how many rows it writes.

        Only a stopping worker gives up after a while. The attempts stay open then: their outcome is unknown.
        """
        while True:
            try:
                await self._in_thread(write, *arguments, self._clock())
                self._outage.over(f"{self._work.name}: the database is back")
                return
            except sa.exc.OperationalError as error:
                now = self._clock()
                if self._gives_up_at is None and self._stopping.is_set():
                    self._gives_up_at = now + STOP_PATIENCE
                if self._gives_up_at is not None and now >= self._gives_up_at:
                    log.error(
                        "%s: %d results are lost: the database stayed unreachable; their attempts stay open",
                        self._work.name,
                        count,
                    )
                    return
                await self.wait(str(error.orig))

    async def wait(self, error: str = "") -> None:
        """Wait a second for the database, and log that it cannot be reached: once for each outage.

        `error` is the text of the database or its driver; "" for the last one.
        """
        if error.strip():
            self._reason = f": {error.strip().splitlines()[0]}"
        text = f"{self._work.name}: the database cannot be reached; results of calls wait for it"
        self._outage.lasts(f"{text}{self._reason}", monotonic())
        await asyncio.sleep(DATABASE_RETRY.total_seconds())
