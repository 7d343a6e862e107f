"""A dispatcher: one coroutine that works what is due for one account or channel, until nothing more may be done now.

    take rows under a lease → write down the attempts of as many as there are free permits → make the calls
    → write their results, and the next attempts with them, while other calls go on

Taking and writing go on beside the calls, one of each at a time, so that the permits do not stand empty meanwhile.
It knows nothing of providers or messages: a `Work` does. What it owns is the order of things, on which the
promises rest: no call without its attempt in the database, none after its lease or its slot has passed, none
while results cannot be written, and no result kept longer than a flush.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from worker.domain.limits.concurrency import ASK_AGAIN, ROWS_PER_PERMIT
from worker.domain.limits.rate_limits import lapsed
from worker.engine.dispatch.contract import ClaimedRows, ItemT, OpenedT, ResultT, Room, Unsure, Work
from worker.engine.dispatch.event_priority import Rank, deal
from worker.engine.dispatch.result_writer import Results
from worker.engine.dispatch.shared_claim import ClaimWithin, SharedClaim, ending
from worker.engine.dispatch.slot_gate import SlotGate
from worker.engine.dispatch.throughput import Throughput
from worker.foundation.clock import Clock

log = logging.getLogger(__name__)

FLUSH_EVERY = timedelta(milliseconds=100)  # what a kill -9 may leave in doubt, besides the calls in flight
# … and before as many results have come as calls may be in flight, within these bounds: what a kill leaves in doubt
# stays about twice the concurrency, however fast a provider answers.
FLUSH_LEAST = 50
FLUSH_MOST = 500
# Of the permits, the share that may stand empty before attempts are written down for them alone: a transaction for a
# call or two would cost more than the calls.
EMPTY_PERMITS = 4
# How often rows of batches are taken because a bell rang: one rings for each flush of results.
CLAIM_EVERY = timedelta(milliseconds=200)
# Rows taken at once: larger chunks made PostgreSQL read whole tables, smaller ones cost round trips.
CLAIM_MOST = 200
# How far ahead calls are reserved, a fourth of it at a time (`rate_limits.claim_again_at`). Short, so that an event
# that comes to one worker need not wait for what another has reserved; long enough for the timer and a transaction or
# two.
HORIZON = timedelta(milliseconds=100)
# … and where no other dispatcher works on the account: an event changes slots with this dispatcher's rows, however far
# ahead they are reserved, so that nobody waits for what is taken in larger chunks.
ALONE = timedelta(milliseconds=500)
# How long before the slot of a row that is ready attempts are written down, for that one and all those of a flush
# behind it: once in a flush so early that a slow database makes no call late, and at the latest with time for a flush.
OPEN_BEFORE, OPEN_AT_LATEST = timedelta(milliseconds=100), timedelta(milliseconds=50)
# How much further ahead for events: they are taken though all within the horizon is reserved, and change slots with
# the rows of batches that it was reserved for (`event_priority`).
EVENTS_AHEAD = timedelta(milliseconds=400)
# How many events at most have their attempts written down in the transaction that takes them; more than that wait for a
# flush. Few, since as many permits are kept for them while it goes on.
OPEN_AT_ONCE = 5
LINGER = timedelta(seconds=1)  # a dispatcher ends when nothing may be done for longer than this


T = TypeVar("T")


class Dispatcher(Generic[ItemT, OpenedT, ResultT]):
    def __init__(
        self,
        work: Work[ItemT, OpenedT, ResultT],
        *,
        clock: Clock,
        in_thread: Callable[..., Any],
        stopping: asyncio.Event,
        longest: timedelta,
        claims_to_share: Callable[[], Mapping[str, SharedClaim]] = dict,
    ) -> None:
        """`in_thread(function, *arguments)` awaits a blocking call; `stopping` is set when the process is to end.

        After `longest` the dispatcher takes no more rows, so that its task is acknowledged and others get their turn.
        `claims_to_share` gives the claims of the dispatchers that an event's results lead on to, as far as they can be
        had.
        """
        self._work = work
        self._clock = clock
        self._in_thread = in_thread
        self._stopping = stopping
        self._longest = longest
        self._claims_to_share = claims_to_share
        self._shares_claims = False
        self._permits = work.permits  # as many as each claim grants: the account's are shared by all workers
        self._permits_at: datetime | None = None  # when to ask how many permits there are, if no claim tells before
        self._ready: deque[ItemT] = deque()
        self._opened: deque[tuple[OpenedT, int]] = deque()  # with the number of halts when they were written down
        self._calls: set[asyncio.Task[None]] = set()  # one for each permit that is taken; makes call after call
        self._done: list[ResultT] = []
        self._throughput = Throughput(FLUSH_EVERY)
        # What those of events came to, where more is to follow: not to wait for others.
        self._urgent: list[ResultT] = []
        self._claiming: asyncio.Task[ClaimedRows] | None = None
        self._claim_opens = 0  # attempts that it may write down
        self._claim_halts = 0  # the number of halts when it began
        self._flushing: asyncio.Task[None] | None = None
        self._flush_opens = 0  # attempts that it may write down
        self._wake = asyncio.Event()
        self._halt = asyncio.Event()
        # Permits wait before it: what each will call for is still among what is written down.
        self._slot_gate = SlotGate(work.spacing, clock=clock, halt=self._halt)
        self._halts = 0  # calls that were opened before the last halt must not be made
        self._away = False  # the database is: nothing is taken until what came of the calls is written
        self._results = Results(work, clock=clock, in_thread=in_thread, stopping=stopping)
        self._woken = False
        self._woken_for_rows = False  # of batches alone
        self._claim_at: datetime | None = None
        self._claimed_at = clock() - CLAIM_EVERY
        self._for_events: int | None = None  # how many the claim that goes on was for, where it was for events alone
        self._flushed_at = clock()

    def wake(self, *, for_events: bool = True) -> None:
        """Something has become due: look again before ending. At once, unless it is known to be no event's."""
        if for_events:
            self._woken = True
        else:
            self._woken_for_rows = True
        self._wake.set()

    def share_claim(self, claim: ClaimWithin) -> SharedClaim | None:
        """Have the next taking, of events alone, made in another's transaction; None: not now, a wake-up is needed."""
        room = replace(self._room, rows=0)
        if not (self._shares_claims and self._may_claim and room.events and room.attempts):
            return None
        shared = SharedClaim(claim, room, item=self._work.item)
        self._begin(room, shared.claimed())
        return shared

    def _claim_by(self, when: datetime) -> None:
        self._claim_at = when if self._claim_at is None else min(self._claim_at, when)

    async def run(self) -> bool:
        """Work until nothing more may be done now; whether there was more when the dispatcher was over."""
        try:
            more = await self._work_off()
        finally:
            self._shares_claims = False
            # Only an exception leaves anything here: what was taken is given back, what was called is written.
            await self._wind_up()
        # A bell that rang while it ended was told to nobody else.
        return more or ((self._woken or self._woken_for_rows) and not self._stopping.is_set())

    async def _work_off(self) -> bool:
        ends_at = self._clock() + self._longest
        self._claim_at = self._clock()
        while True:
            await self._settle()
            now = self._clock()
            ending = self._stopping.is_set() or now >= ends_at
            self._shares_claims = not ending
            if ending and self._claiming is None and self._ready:
                self._claim_at = now  # what is given back is there for the next dispatcher
                await self._give_back()
            if self._flushing is None:
                await self._begin_flush(ending=ending)
            if not ending:
                self._begin_claim(self._clock())
            self._fill(ending=ending)
            busy = self._calls or self._claiming is not None or self._flushing is not None
            if not (busy or self._ready or self._opened or self._done or self._urgent):
                if ending:
                    return not self._stopping.is_set() and self._claim_at is not None
                woken = self._woken or self._woken_for_rows
                if not woken and (self._claim_at is None or self._claim_at - self._clock() > LINGER):
                    return False
            await self._sleep(ending=ending)

    @property
    def _room(self) -> Room:
        most = min(CLAIM_MOST, ROWS_PER_PERMIT * max(self._permits, 1))
        # … and what is called for until rows are taken again: many calls go through few permits where they are short.
        lately = min(round(self._throughput.within(CLAIM_EVERY, self._clock())), CLAIM_MOST)
        most = max(most, self._permits + max(self._pace, lately))
        events = sum(item.is_event for item in self._ready)
        attempts = min(self._free_for_events, OPEN_AT_ONCE)
        return Room(max(most - len(self._ready), 0), max(most - events, 0), len(self._calls), attempts)

    @property
    def _free(self) -> int:
        """Permits without a call, present or next."""
        opened = len(self._opened) + self._claim_opens + self._flush_opens
        return self._permits - (len(self._calls) - self._slot_gate.waiting) - opened

    @property
    def _free_for_events(self) -> int:
        """Attempts that may be written down for events: as many as may be in doubt at most."""
        return max(self._free + self._flush_most - len(self._done) - len(self._urgent), 0)

    @property
    def _flush_most(self) -> int:
        return min(max(self._permits, FLUSH_LEAST), FLUSH_MOST)

    @property
    def _pace(self) -> int:
        """How many calls ended within a flush of late, and will in the next one; as many as may be in doubt at most."""
        return min(self._throughput.in_a_flush(self._clock()), self._flush_most)

    async def _settle(self) -> None:
        """Take over what the claim and the flush that went on beside came to."""
        if self._claiming is not None and self._claiming.done():
            claiming, self._claiming, self._claim_opens = self._claiming, None, 0
            claimed = claiming.result()
            self._ready = deque(deal([*self._ready, *claimed.items], item=lambda item: item, at=self._work.at))
            if self._for_events is None:
                self._claim_at = claimed.again_at
            else:
                if claimed.again_at is not None:  # no bell will ring for what was not to be had yet
                    self._claim_by(max(claimed.again_at, self._claimed_at + CLAIM_EVERY))
                if 0 < self._for_events <= len(claimed.items) + len(claimed.opened):
                    self._woken = True  # there may be more
            if claimed.permits is not None:
                self._permits, self._permits_at = claimed.permits, self._clock() + ASK_AGAIN
            if claimed.opened:
                self._call_first(claimed.opened, self._claim_halts)
        if self._flushing is not None and self._flushing.done():
            flushing, self._flushing, self._flush_opens = self._flushing, None, 0
            flushing.result()

    @property
    def _may_claim(self) -> bool:
        # Not before what halted the account is written, nor while what was called for cannot be.
        return self._claiming is None and not self._halt.is_set() and not self._away

    @property
    def _next_claim_at(self) -> datetime | None:
        """When to take more, if no bell rings; None while nothing may be taken."""
        if not self._may_claim:
            return None
        if len(self._ready) < max(self._permits, self._pace, 1) or self._claim_at is None:
            return self._claim_at
        # Where others share the permits, only taking tells that there are more of them now, or fewer.
        return self._permits_at if len(self._calls) >= self._permits else None

    def _begin_claim(self, now: datetime) -> None:
        if self._woken_for_rows and self._may_claim:
            self._woken_for_rows = False
            self._claim_by(max(self._claimed_at + CLAIM_EVERY, now))
        next_claim_at = self._next_claim_at
        due = next_claim_at is not None and next_claim_at <= now
        if not due and not (self._woken and self._may_claim):
            return
        room = self._room
        if not due:
            if not room.events:
                return  # until some of those that are ready are called for
            # A bell may be for an event, which is taken however many rows of batches are ready. Those are taken in
            # chunks: they wait a little where some were taken just before, for a bell rings for each flush of results.
            rested_at = self._claimed_at + CLAIM_EVERY
            if now < rested_at or not room.rows:
                room = replace(room, rows=0)
                self._claim_by(max(rested_at, now))
        self._woken = False
        self._claimed_at = now if room.rows else self._claimed_at
        self._begin(room, self._in_thread(self._work.claim, room, now))

    def _begin(self, room: Room, claiming: Awaitable[ClaimedRows]) -> None:
        self._for_events = room.events if not room.rows else None
        self._claim_opens, self._claim_halts = room.attempts, self._halts
        self._claiming = self._beside(self._claim(claiming))

    async def _claim(self, claiming: Awaitable[ClaimedRows]) -> ClaimedRows:
        try:
            return await claiming
        except Unsure as lost:
            # What of it is ours must go back before anything is called for: their attempts say that calls were made.
            await self._results.insist(len(lost.items), self._work.release, lost.items)
            return ClaimedRows([], again_at=self._clock())

    async def _begin_flush(self, *, ending: bool) -> None:
        """Write results, and the attempts of what is called next, if either is due."""
        now = self._clock()
        halted = self._halt.is_set()
        chunk = [] if ending or halted else self._next(now)
        results_due = (self._done or self._urgent) and (
            halted or now - self._flushed_at >= FLUSH_EVERY or len(self._done) * 2 >= self._flush_most
        )
        events = list(takewhile(lambda item: item.is_event, chunk))
        chunk_due = len(chunk) > len(events) and (
            self._opens_at(chunk[len(events)].slot, now) <= now
            # Not counting the permits that are kept for events of a claim.
            and (self._free + self._claim_opens >= max(self._permits // EMPTY_PERMITS, 1) or not self._calls)
        )
        if not (results_due or chunk_due or self._urgent or events):
            return
        if halted:
            await self._give_back()
        results, self._urgent = self._urgent, []
        urgent = bool(results)
        if results_due or chunk_due:
            results, self._done = [*results, *self._done], []
            self._flushed_at = now
        else:
            chunk = events  # alone, and so in a short transaction: the rest follows with the flush
        for _ in chunk:
            self._ready.popleft()
        self._halt.clear()  # what set it is among these; another call may set it anew while they are being written
        self._flush_opens = len(chunk)
        # The halts as of now, not when the task begins: one meanwhile is one that these calls must not be made after.
        self._flushing = self._beside(
            self._flush(results, chunk, self._halts, self._claims_to_share() if urgent else {})
        )

    def _opens_at(self, slot: datetime | None, now: datetime) -> datetime:
        """When to write down the attempts of rows of batches, the first of which has this slot."""
        if slot is None:
            return now
        return min(max(slot - OPEN_BEFORE, self._flushed_at + FLUSH_EVERY), slot - OPEN_AT_LATEST)

    def _next(self, now: datetime) -> list[ItemT]:
        """The rows to be called next: for the free permits, and ahead as many as will be within a flush.

        So what waits with its attempt written down is what will be called while the next flush is being written,
        and what a kill leaves in doubt is never more than the permits and one flush. Events have all of that, whatever
        is written down already, and whenever their slots are: they change them with what is.
        """
        room = self._free + self._pace
        room_of_events = self._free_for_events
        chunk: list[ItemT] = []
        for item in self._ready:
            beyond = (item.slot or now) > now + OPEN_BEFORE + FLUSH_EVERY
            if len(chunk) >= (room_of_events if item.is_event else room) or (beyond and not item.is_event):
                break
            chunk.append(item)
        return chunk

    async def _flush(
        self, results: list[ResultT], chunk: list[ItemT], halts: int, shared_claims: Mapping[str, SharedClaim]
    ) -> None:
        now = self._clock()
        too_late = [item for item in chunk if not self._in_time(item, now)]
        chunk = [item for item in chunk if self._in_time(item, now)]
        try:
            with ending(shared_claims):
                opened = await self._in_thread(self._work.flush, results, chunk, now, shared_claims)
        except Exception as error:
            if not isinstance(error, sa.exc.SQLAlchemyError):
                if not shared_claims:
                    raise
                # Perhaps a bug in what was lent, which must not cost what the calls came to.
                log.error("%s: a flush with what follows from it ended with %s", self._work.name, type(error).__name__)
            self._away = isinstance(error, sa.exc.OperationalError)
            if self._away:
                # What is written down and not yet called must not be: nobody could keep what came of it.
                self._halts += 1
                await self._results.wait()
            await self._results.write(results)
            too_late += chunk
            self._woken = True  # they may be taken again at once
        else:
            self._call_all(opened, halts)
        if too_late:
            await self._results.insist(len(too_late), self._work.release, too_late)
        self._away = False

    def _call_all(self, opened: Sequence[OpenedT], halts: int) -> None:
        rows = [*self._opened, *((item, halts) for item in opened)]
        self._opened = deque(
            deal(
                rows,
                item=lambda row: self._work.item(row[0]),
                at=lambda row, slot: (self._work.opened_at(row[0], slot), row[1]),
            )
        )
        self._fill(ending=False)

    def _call_first(self, events: Sequence[OpenedT], halts: int) -> None:
        """Call for events that were written down as they were taken, before all rows of batches that hold slots."""
        rows: list[tuple[OpenedT | None, ItemT, int]] = [
            (opened, self._work.item(opened), of) for opened, of in self._opened
        ]
        rows += [(None, item, halts) for item in self._ready]
        rows += [(opened, self._work.item(opened), halts) for opened in events]

        def at(row: tuple[OpenedT | None, ItemT, int], slot: datetime) -> tuple[OpenedT | None, ItemT, int]:
            opened, item, of = row
            return (None if opened is None else self._work.opened_at(opened, slot), self._work.at(item, slot), of)

        # Not before another event that is called for already, and one that is not written down can't be called for.
        dealt = deal(rows, item=lambda row: Rank(row[0] is not None and row[1].is_event, row[1].slot), at=at)
        self._opened = deque((opened, of) for opened, _, of in dealt if opened is not None)
        self._ready = deque(item for opened, item, _ in dealt if opened is None)
        self._fill(ending=False)

    def _fill(self, *, ending: bool) -> None:
        """Have a call made in each permit that is free, while there are any to make."""
        if ending and not self._permits:  # it will be granted none any more
            self._done.extend(self._work.not_made(opened) for opened, _ in self._opened)
            self._opened.clear()
        for _ in range(min(len(self._opened) - self._slot_gate.waiting, self._permits - len(self._calls))):
            task = asyncio.create_task(self._call_with_permit())
            self._calls.add(task)
            task.add_done_callback(self._permit_freed)

    async def _call_with_permit(self) -> None:
        """Make calls, one after the other, while there are any and this is a permit of ours."""
        while len(self._opened) > self._slot_gate.waiting and len(self._calls) <= self._permits:
            await self._slot_gate.wait(self._next_slot)
            if not self._opened or len(self._calls) > self._permits:
                return
            opened, halts = self._opened.popleft()
            result = await self._call(opened, halts)
            if self._work.halts(result):
                self._halts += 1
                self._halt.set()
            follows = self._work.leads_on and self._work.item(opened).is_event
            (self._urgent if follows else self._done).append(result)
            self._throughput.add(self._clock())
            many = len(self._done) * 2 >= self._flush_most
            if self._urgent or self._halt.is_set() or len(self._done) == 1 or many:
                self._wake.set()

    def _next_slot(self) -> datetime | None:
        return self._work.item(self._opened[0][0]).slot if self._opened else None

    def _permit_freed(self, permit: "asyncio.Task[None]") -> None:
        self._calls.discard(permit)
        self._wake.set()

    def _beside(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something that goes on beside the calls, and wakes the dispatcher at its end."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    def _in_time(self, item: ItemT, now: datetime) -> bool:
        return now + self._work.longest_call <= item.lease_until and not (item.slot and lapsed(item.slot, now=now))

    async def _call(self, opened: OpenedT, halts: int) -> ResultT:
        item = self._work.item(opened)
        # The last look before the bytes go out: our lease, our slot, and that nobody has told us to stop.
        if self._halts != halts or self._stopping.is_set() or not self._in_time(item, self._clock()):
            return self._work.not_made(opened)
        try:
            return await self._work.call(opened)
        except Exception as error:  # a bug must not lose the row: its call may have been carried out
            log.error("%s: a call broke with %s", self._work.name, type(error).__name__)
            return self._work.broke(opened, error)

    async def _give_back(self) -> None:
        if self._ready:
            items = list(self._ready)
            self._ready.clear()
            await self._in_thread(self._work.release, items, self._clock())

    async def _sleep(self, *, ending: bool) -> None:
        """Wait for a result, a bell, or the next time at which there is something to do."""
        now = self._clock()
        times = [now + LINGER]
        if (self._done or self._urgent) and self._flushing is None:
            times.append(self._flushed_at + FLUSH_EVERY)
        if self._next_claim_at is not None and not ending:
            times.append(self._next_claim_at)
        if self._ready and self._flushing is None and self._free > 0:
            slot = self._ready[0].slot  # one whose time has come waits for more free permits, which wake us
            opens_at = self._opens_at(slot, now)
            if opens_at > now:
                times.append(opens_at)
        wait = (min(times) - now).total_seconds()
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _wind_up(self) -> None:
        self._halts += 1
        self._halt.set()
        beside = [task for task in (self._claiming, self._flushing) if task is not None]
        while self._calls or beside:
            await asyncio.wait([*self._calls, *beside])
            beside = []  # a flush may have written down more, which is not called any more
        if self._flushing is not None:
            self._flushing.exception()  # seen: the dispatcher is ending with one already
        if self._claiming is not None and self._claiming.exception() is None:
            claimed = self._claiming.result()
            self._ready.extend(claimed.items)
            self._done.extend(self._work.not_made(opened) for opened in claimed.opened)
        self._done.extend(self._work.not_made(opened) for opened, _ in self._opened)  # for want of a permit
        self._opened.clear()
        if self._done or self._urgent:
            results, self._done, self._urgent = [*self._urgent, *self._done], [], []
            await self._results.write(results)
        await self._give_back()
        try:
            await self._in_thread(self._work.release_permits)
        except sa.exc.SQLAlchemyError as error:  # its permits are the others' when their time is over
            log.warning("%s: its permits could not be given back: %s", self._work.name, type(error).__name__)
