"""What came of calls is written, however long the database is away: it cannot be had a second time."""

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
STOP_PATIENCE = timedelta(seconds=30)  # how long an ending process waits for a database that is away


class Results(Generic[ItemT, OpenedT, ResultT]):
    """Writes what one dispatcher's calls came to."""

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
        self._why = ""
        self._gives_up_at: datetime | None = None  # once the process is to end: not anew for each chunk

    async def write(self, results: list[ResultT]) -> None:
        """Write results, however long the database is away: they cannot be had a second time."""
        if not results:
            return
        try:
            await self.insist(len(results), self._work.flush, results, [])
        except sa.exc.SQLAlchemyError as error:
            if len(results) == 1:
                # Its attempt stays open: after the lease the sweep holds the row, or repeats it where it may.
                log.error("%s: a result cannot be written: %s", self._work.name, type(error).__name__)
                return
            log.error(
                "%s: a chunk of %d is written one by one: %s", self._work.name, len(results), type(error).__name__
            )
            for result in results:  # one bad row must not take the others with it
                await self.write([result])

    async def insist(self, count: int, write: Callable[..., Any], *arguments: Any) -> None:
        """Write, however long the database is away.

        Only a process that is to end gives up after a while; the attempts stay open, and say that nobody knows.
        """
        while True:
            try:
                await self._in_thread(write, *arguments, self._clock())
                self._outage.over(f"{self._work.name}: the database is there again")
                return
            except sa.exc.OperationalError as error:
                now = self._clock()
                if self._gives_up_at is None and self._stopping.is_set():
                    self._gives_up_at = now + STOP_PATIENCE
                if self._gives_up_at is not None and now >= self._gives_up_at:
                    log.error("%s: %d results are lost: the database stayed away", self._work.name, count)
                    return
                await self.wait(str(error.orig))

    async def wait(self, said: str = "") -> None:
        """Wait a little for the database, and say that it is away: once, not each time.

        `said`: by it, or its driver; "" for what was said last.
        """
        if said.strip():
            self._why = f": {said.strip().splitlines()[0]}"
        away = f"{self._work.name}: the database is away; what came of calls waits for it{self._why}"
        self._outage.lasts(away, monotonic())
        await asyncio.sleep(DATABASE_RETRY.total_seconds())
