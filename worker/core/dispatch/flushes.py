"""Makes the flushes of a dispatcher, and sees to what follows when the database does not answer.

The results of a flush that failed are written however long that takes. Until then no call is made, because its result
could not be written either.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic

import sqlalchemy as sa

from worker.core.dispatch.claim_plan import ClaimPlan
from worker.core.dispatch.contract import OpenedT, ResultT, Work
from worker.core.dispatch.halts import Halts
from worker.core.dispatch.headroom import Headroom
from worker.core.dispatch.lanes import Lane
from worker.core.dispatch.opened_rows import OpenedRows
from worker.core.dispatch.result_writer import ResultWriter
from worker.core.dispatch.steady_time import SteadyTime
from worker.core.dispatch.throughput import BusyStretch
from worker.core.limits.concurrency import ASK_AGAIN
from worker.core.limits.store.claims import Room
from worker.core.limits.store.flush import Flushed, UnknownFlush
from worker.core.model.metrics import WorkMeter

log = logging.getLogger(__name__)


class Flushes(Generic[OpenedT, ResultT]):
    """The flushes of one dispatcher. What they open goes to `rows`, when to claim again to `plan`."""

    def __init__(
        self,
        work: Work[OpenedT, ResultT],
        rows: OpenedRows[OpenedT],
        plan: ClaimPlan,
        halts: Halts,
        *,
        headroom: Headroom,
        busy_stretch: BusyStretch,
        time: SteadyTime,
        in_turn: Callable[..., Any],
        stopping: asyncio.Event,
        meter: WorkMeter,
        ended: Callable[[], object],
    ) -> None:
        """`in_turn(function, *arguments)` awaits a blocking call to the store. `ended` is called after each flush."""
        self._work, self._rows, self._plan, self._halts = work, rows, plan, halts
        self._headroom, self._busy_stretch = headroom, busy_stretch
        self._time, self._in_turn, self._ended = time, in_turn, ended
        self._meter = meter
        self.writer = ResultWriter(work, in_turn=in_turn, stopping=stopping)
        self.check_permits_at = time()  # when to ask again how many there are, where all are in use
        self._opened_event_at: datetime | None = None  # the last one
        self.claim_alone = False  # a flush failed, and not for its results: the next claim shows why
        self._lost = 0  # flushes whose results wait for the database

    @property
    def unreachable(self) -> bool:
        """The database could not be reached, until the results of the flushes that failed are written."""
        return self._lost > 0

    def opened_event_since(self, since: datetime) -> bool:
        return self._opened_event_at is not None and self._opened_event_at > since

    def begin(self, lane: Lane, results: list[ResultT], room: Room | None) -> None:
        """Begin a flush in a free lane; `room` None: it claims nothing."""
        if room is not None:
            lane.rows = room.events if lane.for_events else room.rows
        lane.results = len(results)
        # The count of halts of now: after a halt in between, the rows of this flush must not be called.
        lane.flush = asyncio.create_task(self._flush(lane, results, room, self._halts.count))
        lane.flush.add_done_callback(lambda _: self._ended())

    async def _flush(self, lane: Lane, results: list[ResultT], room: Room | None, halts: int) -> None:
        waiting = bool(self._rows) or self._plan.more_due
        stretch = self._busy_stretch.at_flush(self._time(), waiting=waiting, results=bool(results))
        unused = self._rows.unused()
        began_at = self._time()
        try:
            flushed = await self._in_turn(self._work.flush, results, room, stretch, unused)
        except Exception as error:
            # Whatever it is (it may be a bug): the results must not be lost for it. The slots are lost after an outage:
            # they may have been released, and be another worker's.
            for slot in () if isinstance(error, UnknownFlush | sa.exc.OperationalError) else unused:
                self._rows.not_used(slot)
            await self._write_after(error, results)
            return
        try:
            await self._check_leases(flushed.opened)
        except UnknownFlush as error:
            await self._write_after(error, [])  # the results are written
            return
        took = self._time() - began_at
        self._headroom.flushed(took, for_events=lane.for_events)
        (self._meter.wrote if room is None else self._meter.claimed)(took.total_seconds())
        if room is not None:
            self._claimed(lane, flushed, room, halts)

    def _claimed(self, lane: Lane, flushed: Flushed[OpenedT], room: Room, halts: int) -> None:
        if self._rows.add(flushed.opened, flushed.slots, flushed.spacing, halts):
            self._opened_event_at = self._time()
        if flushed.permits is not None:
            self._headroom.permits = flushed.permits
        self.check_permits_at = self._time() + ASK_AGAIN
        again_at = None if flushed.again_at is None else self._time.of(flushed.again_at)
        if lane.for_events:
            self._plan.ends_for_events(again_at, found=len(flushed.opened), asked=room.events)
        elif room.rows:
            self._plan.ends(again_at, found=len(flushed.opened))
        else:  # it asked how many permits there are
            self._plan.claim_by(self.check_permits_at)

    async def _check_leases(self, opened: Sequence[OpenedT]) -> None:
        """Raise UnknownFlush if leases are over, of these rows or of those that wait for their calls.

        The machine may have stood still since their commit, and its clock with it. Only the database can tell.
        """
        leased = [*opened, *self._rows.oldest]
        if not leased or self._work.database_time is None:
            return
        try:
            now: datetime = await self._in_turn(self._work.database_time)
        except sa.exc.OperationalError as error:
            raise UnknownFlush(opened, error) from error
        if now >= min(self._work.item(each).lease_until for each in leased):
            why = Exception("the leases ended while this process stood still")
            raise UnknownFlush(opened, sa.exc.OperationalError(None, None, why))

    async def _write_after(self, error: Exception, results: list[ResultT]) -> None:
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
            self._halts.opened_rows()
        else:
            log.error("%s: a flush failed with %s", self._work.name, type(error).__name__)
            self.claim_alone = True
        self._lost += is_outage
        try:
            if results and isinstance(outage, sa.exc.OperationalError):
                await self.writer.wait(outage)
            await self.writer.write(results)
            if opened:  # they may be ours, and their attempts say that calls may have been made
                await self.writer.insist(len(opened), self._work.release, opened)
        finally:
            self._lost -= is_outage
