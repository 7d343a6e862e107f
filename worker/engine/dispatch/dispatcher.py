"""Works what is due for one account or channel: claims and opens rows, makes their calls, writes the results.

    flush: write results, claim rows (a lease, and a slot for each call), write their attempts → make the calls → …

One coroutine (`run`) decides; it looks again when a call ends, a wake-up comes or a planned time is reached. Calls go
on while a flush runs. A dispatcher ends when nothing is due for longer than `LINGER`, or after `longest`.

- permit: the right to have one call in flight. Each claim says how many this dispatcher has: all workers share the
  account's permits.
- slot: the time at which one call may go, where the account or sender has a rate limit (`opened_rows`).
- opened row: it has a lease, its attempt is written, and its call has not begun.
- flush: one transaction for all of that (`store.limits.flush`). There are two lanes, each with one flush at a time: one
  for batches, and one for events and their results, which wait for no batch.
- halt: a result concerns the whole account (rate-limited, refused keys). Rows opened before it are not called.

The dispatcher knows nothing of providers or messages: a `Work` does. The dispatcher owns the order of the steps, and
the promises rest on that order: no call without its attempt in the database, no call after its lease or slot has
passed, no call while results cannot be written, and no result kept in memory for longer than a flush.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic

import sqlalchemy as sa

from worker.domain.limits.concurrency import ASK_AGAIN
from worker.domain.limits.rate_limits import lapsed
from worker.engine.dispatch.claim_plan import ClaimPlan
from worker.engine.dispatch.contract import OpenedT, ResultT, Work
from worker.engine.dispatch.database_lead import DatabaseLead
from worker.engine.dispatch.decision_log import DecisionLog
from worker.engine.dispatch.opened_rows import OpenedRows
from worker.engine.dispatch.result_writer import ResultWriter
from worker.engine.dispatch.slot_gate import SlotGate
from worker.engine.dispatch.steady_time import SteadyTime
from worker.engine.dispatch.throughput import BusyStretch, Throughput
from worker.foundation.clock import Clock
from worker.foundation.outage_log import Outage
from worker.store.limits.claims import Room
from worker.store.limits.flush import UnknownFlush

log = logging.getLogger(__name__)

# Results are written after this time. A killed worker leaves an unknown outcome for the calls in flight, for the
# results of this time, and for the rows that are opened for it.
FLUSH_EVERY = timedelta(milliseconds=100)
# Rows in one flush. At least so many may be events: a stream of events has its own pace.
FLUSH_LEAST, FLUSH_MOST = 50, 1000
# Batch rows are claimed only when one permit in this many is free: a transaction for a call or two would cost more than
# the calls.
EMPTY_PERMITS_FRACTION = 4
# How far ahead slots are reserved, half of it at a time (`rate_limits.claim_again_at`). It is short, so that an event
# at one worker does not wait for the slots that another worker has reserved, and so that a killed worker leaves few
# unknown outcomes. It is long enough for the timer and a transaction or two.
HORIZON = timedelta(milliseconds=100)
# The same where no other dispatcher works for the account. An event takes this dispatcher's next slot, however far
# ahead its slots are reserved.
HORIZON_ALONE = timedelta(milliseconds=200)
# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)
# No slot is reserved further ahead than this and the lead twice; the second is for a clock that was set meanwhile.
FURTHEST_SLOT = HORIZON_ALONE + EVENTS_AHEAD + timedelta(seconds=1)
# How many events a flush of theirs claims at most: as many permits are kept free for them until it ends.
EVENTS_AT_ONCE = 20
# A dispatcher ends when nothing is due for longer than this.
LINGER = timedelta(seconds=1)


class Lane:
    """One flush at a time. `asked`: how many rows the flush under way may open."""

    def __init__(self) -> None:
        self.flush: asyncio.Task[None] | None = None
        self.asked = 0


class Dispatcher(Generic[OpenedT, ResultT]):
    def __init__(
        self,
        work: Work[OpenedT, ResultT],
        *,
        clock: Clock,
        in_thread: Callable[..., Any],
        stopping: asyncio.Event,
        longest: timedelta,
    ) -> None:
        """`in_thread(function, *arguments)` awaits a blocking call; `stopping` is set when the process is to end.

        After `longest` the dispatcher claims no more rows: its task ends, and other accounts get a turn.
        """
        self._work = work
        self._clock = clock  # of leases and slots
        self._time = SteadyTime(clock)  # of everything that is planned here
        self._in_thread = in_thread
        self._stopping = stopping
        self._longest = longest
        self._writer = ResultWriter(work, in_thread=in_thread, stopping=stopping)
        self._throughput = Throughput(FLUSH_EVERY)
        self._busy_stretch = BusyStretch(self._time())
        self._decisions = DecisionLog(log, work.name)
        self._lead = DatabaseLead()
        self._plan = ClaimPlan(self._time)
        self._look_again = asyncio.Event()  # set when the loop of `run` may have something to do

        self._permits = work.permits  # how many calls may be in flight, as the last claim granted
        self._check_permits_at = self._time()  # when to ask again, where all are in use
        self._rows: OpenedRows[OpenedT] = OpenedRows(lambda opened: work.item(opened).is_event)
        self._calls: set[asyncio.Task[None]] = set()  # one task for each permit in use; it makes call after call

        self._results: list[ResultT] = []  # not written yet
        self._event_results: list[ResultT] = []  # of events that have a next step: written at once
        self._batches, self._events = Lane(), Lane()
        self._last_flush_at = self._time()  # of batches
        self._claim_alone = False  # a flush failed, and not for its results: the next claim shows why
        self._unreachable = False  # the database, until the results of a failed flush are written

        self._halted = asyncio.Event()  # set from a result that halts until the flush that writes it begins
        self._halts = 0  # a row that was opened under an earlier count is not called
        # A call waits here for its slot. Which row it is for is decided when the slot comes.
        self._slot_gate = SlotGate(work.spacing, time=self._time, halt=self._halted, furthest=self._furthest)

    def wake(self, *, for_events: bool = True) -> None:
        """Something has become due: look again before ending. `for_events`: an event may be due, so look at once."""
        self._plan.wake(for_events=for_events)
        self._look_again.set()

    @property
    def unfinished(self) -> str:
        """What keeps this dispatcher from ending, in words."""
        found = [f"{self._in_flight} calls in flight"] if self._in_flight else []
        found += ["results to write"] if self._flushing or self._results or self._event_results else []
        return ", ".join(found) or "its last step"

    @property
    def outage(self) -> Outage:
        """The outage of the database, as the results meet it that wait to be written."""
        return self._writer.outage

    async def run(self) -> bool:
        """Work until nothing more may be done now. Returns whether more is due."""
        try:
            more = await self._work_until_done()
        finally:
            # Only after an exception are rows or results left here.
            await self._finish()
        # A wake-up that came while this dispatcher ended went to no other dispatcher.
        return more or (self._plan.woken and not self._stopping.is_set())

    async def _work_until_done(self) -> bool:
        ends_at = self._time() + self._longest
        while True:
            for lane in (self._batches, self._events):
                if lane.flush is not None and lane.flush.done():
                    flush, lane.flush, lane.asked = lane.flush, None, 0
                    flush.result()  # raises what a claim raised
            finishing = self._stopping.is_set() or self._time() >= ends_at
            if self._stopping.is_set():
                self._writer.stops()
            if finishing:
                self._decisions.not_done("claim", "the worker is stopping" if self._stopping.is_set() else "time is up")
                if not self._permits:  # only a claim grants permits, and there are no more claims
                    self._give_up_opened()
            self._plan.follow_wake_ups()
            self._flush_events(finishing=finishing)
            self._flush_batches(finishing=finishing)
            self._fill_permits()
            if not (self._calls or self._flushing or self._rows or self._results or self._event_results):
                at = self._plan.at
                if finishing:
                    return not self._stopping.is_set() and at is not None
                if not self._plan.woken and (at is None or at - self._time() > LINGER):
                    return False
            await self._sleep(finishing=finishing)

    # How many rows may be opened.

    @property
    def _flushing(self) -> bool:
        return self._batches.flush is not None or self._events.flush is not None

    @property
    def _in_flight(self) -> int:
        return len(self._calls) - self._slot_gate.waiting

    @property
    def _free_permits(self) -> int:
        """Permits that no call uses and no opened row waits for; below zero if more rows wait."""
        return self._permits - self._in_flight - len(self._rows) - self._batches.asked - self._events.asked

    @property
    def _calls_in_a_flush(self) -> int:
        """How many calls are expected to end until the end of the flush after this one, as the last calls show."""
        time = self._lead.longest + max(FLUSH_EVERY, self._lead.longest)
        expected = self._throughput.expected(time, self._time())
        # On a slow database each flush has room for twice the calls of the one before, until the slots bound them.
        return min(2 * expected if self._lead.lead and self._work.spacing else expected, FLUSH_MOST)

    @property
    def _room_for_batches(self) -> int:
        """How many rows may be opened: for the free permits, and for the calls of a flush.

        The opened rows without a permit are then those that will be called while the next flush is written. So a killed
        worker leaves at most the permits and one flush with an unknown outcome.
        """
        return min(self._free_permits + self._calls_in_a_flush, FLUSH_MOST)

    @property
    def _room_for_events(self) -> int:
        """The same for events: they may use all of it, whatever batch rows are opened, and take the slots of these."""
        most = max(self._permits, FLUSH_LEAST, self._calls_in_a_flush)
        return min(self._free_permits + most - len(self._results) - len(self._event_results), FLUSH_MOST)

    def _room(self, rows: int, events: int) -> Room:
        return Room(max(rows, 0), max(events, 0), len(self._calls), self._lead.lead)

    def _furthest(self) -> timedelta:
        """How far ahead a slot may be; a longer wait would come from a wrong clock."""
        return FURTHEST_SLOT + 2 * self._lead.lead

    # Flushes.

    def _flush_events(self, *, finishing: bool) -> None:
        """Write the results of events that have a next step, and claim events, both at once."""
        if self._events.flush is not None or self._halted.is_set() or self._unreachable:
            return
        room = None
        if self._plan.woken_for_events and not finishing:
            if self._room_for_events <= 0:
                self._decisions.not_done("claim", "as many events as it may hold are opened")
            elif self._batches.flush is None and self._claim_due(self._time()):
                pass  # the flush of batches claims events too
            else:
                room = self._room(0, min(self._room_for_events, EVENTS_AT_ONCE))
                self._plan.begins_for_events()
        if room is not None or self._event_results:
            results, self._event_results = self._event_results, []
            self._begin(self._events, results, room)

    def _flush_batches(self, *, finishing: bool) -> None:
        """Write results, and claim rows, when one of them is due."""
        if self._batches.flush is not None:
            if self._unreachable:
                self._decisions.not_done("claim", "the database cannot be reached")
            return
        now, halted = self._time(), self._halted.is_set()
        waited = now - self._last_flush_at >= FLUSH_EVERY or len(self._results) >= FLUSH_MOST
        results_due = bool(self._results or (halted and self._event_results)) and (halted or waited)
        room = None
        if not finishing and self._claim_due(now, results_due=results_due):
            room = self._room(self._room_for_batches, self._room_for_events)
            self._plan.begins()
        if room is None and not results_due:
            return
        results = []
        if not (room and self._claim_alone):
            results, self._results = self._results, []
        if halted:
            results, self._event_results = [*self._event_results, *results], []
            self._halted.clear()  # this flush writes the result that set it; a call may set it again meanwhile
        self._claim_alone = False
        self._last_flush_at = now
        self._begin(self._batches, results, room)

    def _claim_due(self, now: datetime, *, results_due: bool = False) -> bool:
        """Whether to claim rows now. A claim that is due soon goes together with the results that are due now."""
        at, rows = self._plan.at, self._room_for_batches
        soon = now + (FLUSH_EVERY / 2 + self._lead.longest if results_due else timedelta(0))
        reason = ""
        if self._halted.is_set():
            reason = "a result that halts the account is not written yet"
        elif self._unreachable:
            reason = "the database cannot be reached"
        elif at is None:
            reason = "nothing more is known to be due"
        elif at > soon:
            reason = f"the next claim is planned in {(at - now).total_seconds():.3f} s"
        elif self._all_permits_used and self._check_permits_at <= now:
            return True  # only a claim tells how many permits there are now, where workers share them
        elif rows <= 0:
            reason = "enough rows are opened"
        elif rows < self._permits // EMPTY_PERMITS_FRACTION and self._calls and not results_due:
            reason = "too few permits are free for a transaction of their own"
        if reason:
            self._decisions.not_done("claim", reason)
        return not reason

    @property
    def _all_permits_used(self) -> bool:
        return self._in_flight >= self._permits

    def _begin(self, lane: Lane, results: list[ResultT], room: Room | None) -> None:
        if room is not None:
            self._decisions.done("claim")
            lane.asked = max(room.rows, room.events if lane is self._events else 0)
        # The count of halts of now: after a halt in between, the rows of this flush must not be called.
        lane.flush = asyncio.create_task(self._flush(lane, results, room, self._halts))
        lane.flush.add_done_callback(lambda _: self._look_again.set())

    async def _flush(self, lane: Lane, results: list[ResultT], room: Room | None, halts: int) -> None:
        waiting = bool(self._rows) or self._plan.more_due
        stretch = self._busy_stretch.at_flush(self._time(), waiting=waiting, results=bool(results))
        unused = self._rows.unused()
        began_at = self._time()
        try:
            flushed = await self._in_thread(self._work.flush, results, room, stretch, unused)
            await self._check_leases(flushed.opened)
        except Exception as error:
            # Whatever it is (it may be a bug): the results must not be lost for it.
            for slot in unused:
                self._rows.not_used(slot)
            await self._write_after(error, results)
            return
        self._lead.add(self._time() - began_at)
        if room is None:
            return
        self._rows.add(flushed.opened, flushed.slots, halts)
        if flushed.permits is not None:
            self._permits = flushed.permits
        self._check_permits_at = self._time() + ASK_AGAIN
        again_at = None if flushed.again_at is None else self._time.of(flushed.again_at)
        if lane is self._events:
            self._plan.ends_for_events(again_at, found=len(flushed.opened), asked=room.events)
        elif room.rows:
            self._plan.ends(again_at, found=len(flushed.opened))
        else:  # it asked how many permits there are
            self._plan.claim_by(self._check_permits_at)
        self._fill_permits()

    async def _check_leases(self, opened: Sequence[OpenedT]) -> None:
        """Raise UnknownFlush if the leases are over: the machine may have stood still since the commit, and its clock
        with it. Only the database can tell."""
        if not opened or self._work.database_time is None:
            return
        try:
            now = await self._in_thread(self._work.database_time)
        except sa.exc.OperationalError as error:
            raise UnknownFlush(opened, error) from error
        if now >= min(self._work.item(each).lease_until for each in opened):
            why = Exception("the leases ended while this process stood still")
            raise UnknownFlush(opened, sa.exc.OperationalError(None, None, why))

    async def _write_after(self, error: Exception, results: list[ResultT]) -> None:
        """Write the results of a flush that failed. Raises the error if there are none: the claim has failed."""
        outage = error.error if isinstance(error, UnknownFlush) else error
        opened = error.opened if isinstance(error, UnknownFlush) else []
        if not (results or opened):
            raise error
        self._plan.wake(for_events=True)
        self._plan.claim_by(self._time())
        if isinstance(outage, sa.exc.OperationalError):
            # Opened rows must not be called: their results could not be written.
            self._unreachable, self._halts = True, self._halts + 1
            if results:
                await self._writer.wait(outage)
        else:
            log.error("%s: a flush failed with %s", self._work.name, type(error).__name__)
            self._claim_alone = True
        await self._writer.write(results)
        if opened:  # they may be ours, and their attempts say that calls may have been made
            await self._writer.insist(len(opened), self._work.release, opened)
        self._unreachable = False

    # Calls.

    def _fill_permits(self) -> None:
        """Begin calls of opened rows in the free permits."""
        if self._rows and not self._permits:
            self._decisions.not_done("call", "other workers hold all permits")
        for _ in range(min(len(self._rows) - self._slot_gate.waiting, self._permits - len(self._calls))):
            task = asyncio.create_task(self._call_with_permit())
            self._calls.add(task)
            task.add_done_callback(self._permit_freed)

    def _permit_freed(self, permit: "asyncio.Task[None]") -> None:
        self._calls.discard(permit)
        self._look_again.set()

    async def _call_with_permit(self) -> None:
        """Call opened rows, one after the other, while there are any and the permit is still this dispatcher's."""
        while len(self._rows) > self._slot_gate.waiting and len(self._calls) <= self._permits:
            await self._slot_gate.wait(self._rows.next_slot)
            if not self._rows or len(self._calls) > self._permits:
                return
            opened, slot, halts = self._rows.take()
            result = await self._call(opened, slot, halts)
            if self._work.halts(result):
                self._halts += 1
                self._halted.set()
            follows = self._work.has_next_step and self._work.item(opened).is_event
            (self._event_results if follows else self._results).append(result)
            self._throughput.add(self._time())
            if follows or self._halted.is_set() or len(self._results) in (1, FLUSH_MOST):
                self._look_again.set()

    async def _call(self, opened: OpenedT, slot: datetime | None, halts: int) -> ResultT:
        # The last check before the call: the account is not halted, the worker not stopping, lease and slot are valid.
        reason, now = "", self._clock()
        if self._halts != halts:
            reason = "opened before the account was halted, the database was lost or the dispatcher ended"
        elif self._stopping.is_set():
            reason = "the worker is stopping"
        elif now + self._work.longest_call > self._work.item(opened).lease_until:
            reason = "the lease has passed"
        elif slot is not None and lapsed(slot, now=now):
            reason = "the slot has passed"
        if reason:
            self._decisions.not_done("call", reason)
            self._rows.not_used(slot)
            self._plan.claim_by(self._time())  # the row is due again
            return self._work.not_made(opened)
        self._decisions.done("call")
        try:
            result = await self._work.call(opened)
            self._busy_stretch.call_ended()
            return result
        except Exception as error:  # a bug must not lose the row: its call may have been made
            log.error("%s: a call failed with %s", self._work.name, type(error).__name__)
            return self._work.crashed(opened, error)

    # Waiting and ending.

    async def _sleep(self, *, finishing: bool) -> None:
        """Wait for a result, a wake-up, or the next planned time."""
        now = self._time()
        times = [now + LINGER]
        if self._batches.flush is None:
            if self._results:
                times.append(self._last_flush_at + FLUSH_EVERY)
            # A claim whose time has come waits for free permits: a call that ends wakes the loop.
            if self._plan.at is not None and self._plan.at > now and not finishing:
                times.append(self._plan.at)
            elif self._plan.at is not None and self._all_permits_used and not finishing:
                times.append(self._check_permits_at)
        try:
            async with asyncio.timeout(max((min(times) - now).total_seconds(), 0)):
                await self._look_again.wait()
        except TimeoutError:
            pass
        self._look_again.clear()

    def _give_up_opened(self) -> None:
        """Call none of the opened rows."""
        self._results.extend(map(self._work.not_made, self._rows.take_all()))

    async def _finish(self) -> None:
        """End the calls, write the results, release the rows, the slots and the permits."""
        self._halts += 1
        self._halted.set()
        flushes = [lane.flush for lane in (self._batches, self._events) if lane.flush is not None]
        while self._calls or not all(flush.done() for flush in flushes):
            # A flush may open more rows, whose calls end at once: the count of halts has changed.
            await asyncio.wait([*self._calls, *flushes], return_when=asyncio.FIRST_COMPLETED)
        for flush in flushes:
            flush.exception()  # read, so that asyncio does not log it: `run` is raising one already
        self._give_up_opened()  # they had no permit
        await self._writer.write([*self._event_results, *self._results])
        self._event_results, self._results = [], []
        unused = self._rows.unused()
        if unused:
            await self._in_thread(self._work.flush, [], None, None, unused)
        try:
            await self._in_thread(self._work.release_permits)
        except sa.exc.SQLAlchemyError as error:  # other workers get the permits when their time is over
            log.warning(
                "%s: the permits could not be released, they lapse by themselves: %s",
                self._work.name,
                type(error).__name__,
            )
