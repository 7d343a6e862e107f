"""Makes the flushes of a dispatcher, and sees to what follows when the database does not answer.

The results of a flush that failed are written however long that takes. Until then no call is made, because its result
could not be written either.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic

import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult, RowT, UnknownFlush
from onboarding_worker.core.claim.leases import ASK_AGAIN
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.dispatch.calls import Calls
from onboarding_worker.core.dispatch.state import FlushTask, State
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage

log = logging.getLogger(__name__)

DATABASE_RETRY = timedelta(seconds=1)
STOP_PATIENCE = timedelta(seconds=30)  # how long a stopping worker waits for an unreachable database


class Flushes(Generic[RowT]):
    """The flushes of one dispatcher. What they open goes to `rows`, when to claim again to `plan`."""

    def __init__(self, state: State[RowT], calls: Calls[RowT]) -> None:
        """`calls` begin after each flush."""
        self._state, self._work, self._plan, self._prefetch = state, state.work, state.plan, state.prefetch
        self._time, self._in_turn, self._calls = state.time, state.in_turn, calls
        self.writer = ResultWriter(state)
        self.check_permits_at = state.time()  # when to ask again how many there are, where all are in use
        self.opened_event_at: datetime | None = None  # the last one
        self.claim_alone = False  # a flush failed, and not for its results: the next claim shows why
        # Flushes whose results wait for the database: it could not be reached, until they are written.
        self.unreachable = 0

    def begin(self, task: FlushTask, results: list[CallResult[RowT]], room: Room | None) -> None:
        """Begin a flush as a free task; `room` None: it claims nothing."""
        if room is not None:
            task.rows = room.events if task.for_events else room.rows
        task.results = len(results)
        # The count of halts of now: after a halt in between, the rows of this flush must not be called.
        task.flush = asyncio.create_task(self._flush(task, results, room, self._state.halts))
        task.flush.add_done_callback(lambda _: self._calls.begin())
        task.flush.add_done_callback(lambda _: self._state.look_again.set())

    async def _flush(self, task: FlushTask, results: list[CallResult[RowT]], room: Room | None, halts: int) -> None:
        waiting = bool(self._state.rows) or self._plan.more_due
        stretch = self._state.busy_stretch.at_flush(self._time(), waiting=waiting, results=bool(results))
        unused = self._state.rows.unused()
        began_at = self._time()
        try:
            flushed = await self._in_turn(self._work.flush, results, room, stretch, unused)
        except Exception as error:
            # Whatever it is (it may be a bug): the results must not be lost for it. The slots are lost after an outage:
            # they may have been released, and be another worker's.
            for slot in () if isinstance(error, UnknownFlush | sa.exc.OperationalError) else unused:
                self._state.rows.not_used(slot)
            await self._write_after(error, results)
            return
        try:
            if self._work.database_time is not None:
                await self._check_leases(flushed.opened, self._work.database_time)
        except UnknownFlush as error:
            await self._write_after(error, [])  # the results are written
            return
        took = self._time() - began_at
        self._prefetch.flush_times.add(took)
        if not task.for_events:
            self._prefetch.of_batches.add(took)
        (self._state.meter.wrote if room is None else self._state.meter.claimed)(took.total_seconds())
        if room is None:
            return
        if self._state.rows.add(flushed.opened, flushed.slots, flushed.spacing, halts):
            self.opened_event_at = self._time()
        if flushed.permits is not None:
            self._prefetch.permits = flushed.permits
        self.check_permits_at = self._time() + ASK_AGAIN
        again_at = None if flushed.again_at is None else self._time.of(flushed.again_at)
        if task.for_events or room.rows:
            found, asked = len(flushed.opened), room.events
            self._plan.ends(again_at, found=found, asked=asked, for_events=task.for_events)
        else:  # it asked how many permits there are
            self._plan.claim_by(self.check_permits_at)

    async def _check_leases(self, opened: Sequence[RowT], database_time: Callable[[], datetime]) -> None:
        """Raise UnknownFlush if leases are over, of these rows or of those that wait for their calls.

        The machine may have stood still since their commit, and its clock with it. Only the database can tell.
        """
        leased = [*opened, *self._state.rows.oldest]
        if not leased:
            return
        try:
            now: datetime = await self._in_turn(database_time)
        except sa.exc.OperationalError as error:
            raise UnknownFlush(opened, error) from error
        if now >= min(each.lease_until for each in leased):
            why = Exception("the leases ended while this process stood still")
            raise UnknownFlush(opened, sa.exc.OperationalError(None, None, why))

    async def _write_after(self, error: Exception, results: list[CallResult[RowT]]) -> None:
        """Write the results of a flush that failed. Raises the error if there is nothing to save: a claim failed."""
        outage = error.error if isinstance(error, UnknownFlush) else error
        opened = error.opened if isinstance(error, UnknownFlush) else []
        if not (results or isinstance(error, UnknownFlush)):
            raise error
        self._plan.wake(for_events=True)
        self._plan.claim_by(self._time())
        is_outage = isinstance(outage, sa.exc.OperationalError)
        if is_outage:
            # Opened rows must not be called: their results could not be written.
            self._state.halts += 1
        else:
            log.error("%s: a flush failed with %s", self._work.name, type(error).__name__)
            self.claim_alone = True
        self.unreachable += is_outage
        try:
            if results and isinstance(outage, sa.exc.OperationalError):
                await self.writer.wait(outage)
            if results:
                await self.writer.write(results)
            if opened:  # they may be ours, and their attempts say that calls may have been made
                await self.writer.insist(len(opened), self._work.release, opened)
        finally:
            self.unreachable -= is_outage


class ResultWriter(Generic[RowT]):
    """Writes the results of calls, however long the database is unreachable: a call cannot be made a second time."""

    def __init__(self, state: State[RowT]) -> None:
        self._work, self._in_turn, self._stopping = state.work, state.in_turn, state.stopping
        self.outage = Outage(log, logging.WARNING)
        # In the loop's seconds. Set once, when the worker stops: not again for each chunk.
        self._gives_up_at: float | None = None
        self._failed = False  # whether the last try failed

    def stops(self) -> None:
        """The worker is stopping: from the first call on, an unreachable database is waited for only for a while."""
        if self._gives_up_at is None:
            self._gives_up_at = asyncio.get_running_loop().time() + STOP_PATIENCE.total_seconds()

    async def write(self, results: list[CallResult[RowT]]) -> None:
        """Write results, one or more, however long the database is unreachable.

        Results that cannot be written together, for whatever reason, are written in parts. A single result that cannot
        be written is replaced by one that holds its row: nothing of the other results is lost for it.
        """
        try:
            await self.insist(len(results), self._work.flush, results, None)
        except Exception as error:
            name, kind, number = self._work.name, type(error).__name__, len(results)
            if number > 1:
                log.error("%s: %d results cannot be written together (%s); writing them in parts", name, number, kind)
                half = number // 2
                await self.write(results[:half])
                await self.write(results[half:])
                return
            log.error("%s: a result cannot be written (%s); its row is held", name, kind)
            await self._hold(self._work.unsaved(results[0], kind))

    async def _hold(self, result: CallResult[RowT]) -> None:
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
