"""A shift: one coroutine that works what is due for one account or channel, until nothing more may be done now.

    take rows under a lease → write down the attempts of as many as there are free places → make the calls
    → write their results in small lots, while other calls go on → take the next rows

It knows nothing of providers or messages: a `Work` does. What it owns is the order of things, on which the
promises rest: no call without its attempt in the database, none after its lease or its slot has passed, and
no result kept longer than a flush.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from worker.clock import Clock
from worker.pacing import lapsed
from worker.places import ASK_AGAIN, ROWS_PER_PLACE

log = logging.getLogger(__name__)

FLUSH_EVERY = timedelta(milliseconds=100)  # what a kill -9 may leave in doubt, besides the calls in flight
# … and before as many results have come as calls may be in flight, within these bounds: what a kill leaves in doubt
# stays about twice the concurrency, however fast a provider answers.
FLUSH_LEAST = 25
FLUSH_MOST = 500
# Rows taken at once: larger lots made PostgreSQL read whole tables, smaller ones cost round trips.
TAKE_MOST = 200
# How far ahead calls are reserved and written down. Short, so that an event's job need not wait behind rows of a
# batch that were taken before it came; long enough for the timer and one transaction.
HORIZON = timedelta(milliseconds=100)
LINGER = timedelta(seconds=1)  # a shift ends when nothing may be done for longer than this
DATABASE_RETRY = timedelta(seconds=1)
STOP_PATIENCE = timedelta(seconds=30)  # how long an ending process waits for a database that is away


@dataclass(frozen=True)
class TakenRows:
    """Rows under our lease. `again_at`: when to ask again; None: nothing more is due.

    `places` is how many calls may be in flight from now on; None: as many as before.
    """

    items: Sequence[Any]
    again_at: datetime | None = None
    places: int | None = None


class Item(Protocol):
    @property
    def lease_until(self) -> datetime: ...
    @property
    def slot(self) -> datetime | None: ...


I = TypeVar("I", bound=Item)  # noqa: E741 -- a taken row
O = TypeVar("O")  # noqa: E741 -- a row whose attempt is written down
R = TypeVar("R")  # what came of it


class Work(Protocol[I, O, R]):
    """What a shift works on. `take`, `open`, `finish` and `release` are blocking database calls, made in a thread."""

    name: str
    places: int  # calls in flight, until the first taking says how many
    longest_call: timedelta  # from the last look at the lease to the result
    spacing: timedelta  # the least time between two calls; zero where the account has no limit

    def take(self, most: int, now: datetime, busy: int) -> TakenRows:
        """Take rows; `busy` calls are in flight."""

    def open(self, items: Sequence[I], now: datetime) -> list[O]:
        """Write the attempts; what is not in the answer was given back or settled."""

    async def call(self, opened: O) -> R: ...
    def item(self, opened: O) -> I: ...
    def not_made(self, opened: O) -> R: ...
    def broke(self, opened: O, error: Exception) -> R:
        """What to keep when the call raised: a bug, whose outcome nobody knows."""

    def halts(self, result: R) -> bool:
        """Whether the account must not be called again before this result is written."""

    def finish(self, results: Sequence[R], now: datetime) -> None: ...
    def release(self, items: Sequence[I], now: datetime) -> None: ...
    def leave(self) -> None:
        """The shift has ended: its places are free."""


class Shift(Generic[I, O, R]):
    def __init__(
        self,
        work: Work[I, O, R],
        *,
        clock: Clock,
        in_thread: Callable[..., Any],
        stopping: asyncio.Event,
        longest: timedelta,
    ) -> None:
        """`in_thread(function, *arguments)` awaits a blocking call; `stopping` is set when the process is to end.

        After `longest` the shift takes no more rows, so that its task is acknowledged and others get their turn.
        """
        self._work = work
        self._clock = clock
        self._in_thread = in_thread
        self._stopping = stopping
        self._longest = longest
        self._places = work.places
        self._asks_at: datetime | None = None  # when to ask for places again while there is none free
        self._ready: deque[I] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._done: list[R] = []
        self._wake = asyncio.Event()
        self._halt = asyncio.Event()
        self._halts = 0  # calls that were opened before the last halt must not be made
        self._rung = False
        self._flushed_at = clock()
        self._next_call_at = clock()

    def ring(self) -> None:
        """Something has become due: look again before ending."""
        self._rung = True
        self._wake.set()

    async def run(self) -> bool:
        """Work until nothing more may be done now; whether there was more when the longest shift was over."""
        ends_at = self._clock() + self._longest
        take_at: datetime | None = self._clock()
        try:
            while True:
                await self._flush_when_due()
                now = self._clock()
                ending = self._stopping.is_set() or now >= ends_at
                if self._rung:
                    self._rung, take_at = False, now
                if ending:
                    take_at = now if self._ready else take_at  # what is given back is there for the next shift
                    await self._give_back()
                elif take_at is not None and take_at <= now and self._may_take(now):
                    taken = await self._in_thread(self._work.take, self._most, now, len(self._calls))
                    self._ready.extend(taken.items)
                    if taken.places is not None:
                        self._places, self._asks_at = taken.places, now + ASK_AGAIN
                    take_at = taken.again_at
                if not ending:
                    await self._open_and_call()
                if not self._calls and not self._ready and not self._done:
                    if ending:
                        return not self._stopping.is_set() and take_at is not None
                    if not self._rung and (take_at is None or take_at - self._clock() > LINGER):
                        return False
                await self._sleep(None if ending else take_at)
        finally:
            # Only an exception leaves anything here: what was taken is given back, what was called is written.
            await self._wind_up()

    @property
    def _most(self) -> int:
        return min(TAKE_MOST, ROWS_PER_PLACE * max(self._places, 1))

    @property
    def _free(self) -> int:
        return self._places - len(self._calls)

    def _may_take(self, now: datetime) -> bool:
        # Where others share the places, only taking tells that there are more of them now, or fewer.
        asks = self._free <= 0 and self._asks_at is not None and self._asks_at <= now
        return len(self._ready) < self._free or asks

    async def _open_and_call(self) -> None:
        if self._halt.is_set():
            return  # what it came from is written first
        halts = self._halts  # before the attempts are: a halt meanwhile is one that these calls must not be made after
        now = self._clock()
        due: list[I] = []
        while self._ready and len(due) < self._free and (self._ready[0].slot or now) <= now + HORIZON:
            due.append(self._ready.popleft())
        # One transaction for a call or two would cost more than the calls: wait for some more free places.
        if self._ready and self._calls and len(due) == self._free < self._places // 4:
            self._ready.extendleft(reversed(due))
            return
        too_late = [item for item in due if not self._in_time(item, now)]
        if too_late:
            await self._in_thread(self._work.release, too_late, now)
            due = [item for item in due if self._in_time(item, now)]
        if due:
            for opened in await self._in_thread(self._work.open, due, now):
                task = asyncio.create_task(self._call(opened, halts))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)

    def _in_time(self, item: I, now: datetime) -> bool:
        return now + self._work.longest_call <= item.lease_until and not (item.slot and lapsed(item.slot, now=now))

    async def _call(self, opened: O, halts: int) -> None:
        item = self._work.item(opened)
        if item.slot is not None:
            # In order of their slots, since calls begin in that order: one that is late moves those behind it.
            begins_at = max(item.slot, self._next_call_at)
            self._next_call_at = begins_at + self._work.spacing
            await self._until(begins_at)
        # The last look before the bytes go out: our lease, our slot, and that nobody has told us to stop.
        if self._halts != halts or self._stopping.is_set() or not self._in_time(item, self._clock()):
            result = self._work.not_made(opened)
        else:
            try:
                result = await self._work.call(opened)
            except Exception as error:  # a bug must not lose the row: its call may have been carried out
                log.error("%s: a call broke with %s", self._work.name, type(error).__name__)
                result = self._work.broke(opened, error)
        if self._work.halts(result):
            self._halts += 1
            self._halt.set()
        self._done.append(result)
        self._wake.set()

    async def _until(self, when: datetime) -> None:
        wait = (when - self._clock()).total_seconds()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await self._halt.wait()
            except TimeoutError:
                pass

    async def _flush_when_due(self) -> None:
        idle = not self._calls and not self._ready
        due = self._clock() - self._flushed_at >= FLUSH_EVERY
        full = len(self._done) >= min(max(self._places, FLUSH_LEAST), FLUSH_MOST)
        if self._done and (due or idle or full or self._halt.is_set()):
            if self._halt.is_set():
                await self._give_back()
            await self._flush()

    async def _flush(self) -> None:
        results, self._done = self._done, []
        self._halt.clear()  # what set it is among these; another call may set it anew while they are being written
        self._flushed_at = self._clock()
        await self._finish(results)

    async def _finish(self, results: list[R]) -> None:
        """Write results, however long the database is away: they cannot be had a second time.

        Only a process that is to end gives up after a while; the attempts stay open, and say that nobody knows.
        """
        gives_up_at: datetime | None = None
        while True:
            try:
                return await self._in_thread(self._work.finish, results, self._clock())  # type: ignore[no-any-return]
            except sa.exc.OperationalError:
                now = self._clock()
                gives_up_at = gives_up_at or (now + STOP_PATIENCE if self._stopping.is_set() else None)
                if gives_up_at is not None and now >= gives_up_at:
                    log.error("%s: %d results are lost: the database stayed away", self._work.name, len(results))
                    return None
                log.warning("%s: the database is away; %d results wait for it", self._work.name, len(results))
                await asyncio.sleep(DATABASE_RETRY.total_seconds())
            except sa.exc.SQLAlchemyError as error:
                if len(results) == 1:
                    # Its attempt stays open: after the lease the sweep holds the row, or repeats it where it may.
                    log.error("%s: a result cannot be written: %s", self._work.name, type(error).__name__)
                    return None
                log.error(
                    "%s: a lot of %d is written one by one: %s", self._work.name, len(results), type(error).__name__
                )
                for result in results:  # one bad row must not take the others with it
                    await self._finish([result])
                return None

    async def _give_back(self) -> None:
        if self._ready:
            items = list(self._ready)
            self._ready.clear()
            await self._in_thread(self._work.release, items, self._clock())

    async def _sleep(self, take_at: datetime | None) -> None:
        """Wait for a result, a bell, or the next time at which there is something to do."""
        now = self._clock()
        times = [now + LINGER]
        if self._done:
            times.append(self._flushed_at + FLUSH_EVERY)
        if take_at is not None and self._may_take(now):
            times.append(take_at)
        elif take_at is not None and self._free <= 0 and self._asks_at is not None:
            times.append(max(take_at, self._asks_at))
        if self._ready and self._free > 0 and (slot := self._ready[0].slot) and slot - HORIZON > now:
            times.append(slot - HORIZON)  # one whose time has come waits for more free places, which wake us
        wait = (min(times) - now).total_seconds()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(0)
        self._wake.clear()

    async def _wind_up(self) -> None:
        if self._calls:
            self._halts += 1
            self._halt.set()
            await asyncio.wait(self._calls)
        if self._done:
            await self._flush()
        await self._give_back()
        try:
            await self._in_thread(self._work.leave)
        except sa.exc.SQLAlchemyError as error:  # its places are the others' when their time is over
            log.warning("%s: its places could not be given back: %s", self._work.name, type(error).__name__)
