"""Writes the results of calls, however long the database is unreachable: a call cannot be made a second time."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic

import sqlalchemy as sa

from worker.core.database.outages import reason
from worker.core.dispatch.contract import OpenedT, ResultT, Work
from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage

log = logging.getLogger(__name__)

DATABASE_RETRY = timedelta(seconds=1)
STOP_PATIENCE = timedelta(seconds=30)  # how long a stopping worker waits for an unreachable database


class ResultWriter(Generic[OpenedT, ResultT]):
    """Writes the results of one dispatcher's calls."""

    def __init__(
        self,
        work: Work[OpenedT, ResultT],
        *,
        in_turn: Callable[..., Any],
        stopping: asyncio.Event,
    ) -> None:
        self._work = work
        self._in_turn = in_turn
        self._stopping = stopping
        self.outage = Outage(log, logging.WARNING)
        # In the loop's seconds. Set once, when the worker stops: not again for each chunk.
        self._gives_up_at: float | None = None
        self._failed = False  # whether the last try failed

    def stops(self) -> None:
        """The worker is stopping: from the first call on, an unreachable database is waited for only for a while."""
        if self._gives_up_at is None:
            self._gives_up_at = asyncio.get_running_loop().time() + STOP_PATIENCE.total_seconds()

    async def write(self, results: list[ResultT]) -> None:
        """Write results, however long the database is unreachable.

        Results that cannot be written together, for whatever reason, are written in parts. A single result that cannot
        be written is replaced by one that holds its row: nothing of the other results is lost for it.
        """
        if not results:
            return
        try:
            await self.insist(len(results), self._work.flush, results, None)
        except Exception as error:
            kind = type(error).__name__
            if len(results) > 1:
                log.error(
                    "%s: %d results cannot be written together (%s); writing them in parts",
                    self._work.name,
                    len(results),
                    kind,
                )
                half = len(results) // 2
                await self.write(results[:half])
                await self.write(results[half:])
                return
            log.error("%s: a result cannot be written (%s); its row is held", self._work.name, kind)
            await self._hold(self._work.kept_nothing(results[0], kind))

    async def _hold(self, result: ResultT) -> None:
        try:
            await self.insist(1, self._work.flush, [result], None)
        except Exception as error:
            # Its attempt stays open: after the lease the sweep holds the row, or repeats it if that is allowed.
            log.error("%s: a row cannot be held, its attempt stays open: %s", self._work.name, type(error).__name__)

    async def insist(self, count: int, write: Callable[..., Any], *arguments: Any) -> None:
        """Call `write(*arguments)` until the database answers. `count` is how many rows it writes.

        Only a stopping worker gives up after a while. The attempts stay open then: their outcome is unknown.
        """
        while True:
            now = asyncio.get_running_loop().time()
            if self._failed and self._gives_up_at is not None and now >= self._gives_up_at:
                # A try takes as long as a hanging database is waited for: there is no time for one more.
                log.error(
                    "%s: %d results are lost: the database stayed unreachable; their attempts stay open",
                    self._work.name,
                    count,
                )
                return
            try:
                await self._in_turn(write, *arguments)
                self._failed = False
                self.outage.over(f"{self._work.name}: the database is back")
                return
            except sa.exc.OperationalError as error:
                self._failed = True
                if self._stopping.is_set():
                    self.stops()
                await self.wait(error)

    async def wait(self, error: sa.exc.OperationalError) -> None:
        """Wait a second for the database, and log that it cannot be reached: once for each outage."""
        what = f"{self._work.name}: the database cannot be used; results of calls wait for it"
        self.outage.lasts(what, monotonic(), why=reason(error))
        await asyncio.sleep(DATABASE_RETRY.total_seconds())
