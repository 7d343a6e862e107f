"""Works what is due for one account or channel: claims rows, writes down attempts, makes the calls, writes results.

    claim rows (a lease, and a slot for each call) → write down the attempts of as many rows as there are free permits
    → make the calls → write the results, and in the same transaction the attempts of the next rows → …

One coroutine (`run`) decides; it looks again when a call ends, a wake-up comes or a planned time is reached. Next to
the calls in flight at most one claim and at most one flush run, so that calls need not wait for the database.
A dispatcher ends when nothing is due for longer than `LINGER`, or after `longest`.

- permit: the right to have one call in flight. Each claim says how many this dispatcher has: all workers share the
  account's permits.
- slot: the time at which one call may go, where the account or sender has a rate limit. Each claimed row brings one;
  the dispatcher holds them, and the first slot goes to the row that is called first: to an event, if there is one.
- claimed row: it has a lease, and its attempt is not written yet.
- opened row: its attempt is written, and its call has not begun.
- flush: the transaction that writes results and opens the next rows.
- halt: a result concerns the whole account (rate-limited, refused keys). Rows opened before it are not called.

The dispatcher knows nothing of providers or messages: a `Work` does. The dispatcher owns the order of the steps, and
the promises rest on that order: no call without its attempt in the database, no call after its lease or slot has
passed, no call while results cannot be written, and no result kept in memory for longer than a flush.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from worker.domain.limits.concurrency import ASK_AGAIN, ROWS_PER_PERMIT
from worker.domain.limits.rate_limits import lapsed
from worker.engine.dispatch.contract import ClaimedRows, ItemT, OpenedT, ResultT, Room, UnknownClaim, Work
from worker.engine.dispatch.database_lead import DatabaseLead
from worker.engine.dispatch.decision_log import DecisionLog
from worker.engine.dispatch.result_writer import ResultWriter
from worker.engine.dispatch.slot_gate import SlotGate
from worker.engine.dispatch.steady_time import SteadyTime
from worker.engine.dispatch.throughput import BusyStretch, Throughput
from worker.foundation.clock import Clock
from worker.foundation.outage_log import Outage

log = logging.getLogger(__name__)

# Results are written after this time. A killed worker leaves an unknown outcome for the calls in flight and for the
# results of this time.
FLUSH_EVERY = timedelta(milliseconds=100)
# The rows that are opened ahead of their permits are those that are called within a flush, within these bounds.
FLUSH_LEAST = 50
FLUSH_MOST = 1000
# Attempts of batch rows are written only when one permit in this many is free: a transaction for a call or two would
# cost more than the calls.
EMPTY_PERMITS_FRACTION = 4
# The least time between two claims of batch rows that follow a wake-up: each flush of results sends a wake-up.
CLAIM_EVERY = timedelta(milliseconds=200)
# Rows in one claim. A claim and a flush cost about the same for ten rows as for a hundred.
CLAIM_MOST = 1000
# How far ahead slots are reserved, a fourth of it at a time (`rate_limits.claim_again_at`). It is short, so that an
# event at one worker does not wait for the slots that another worker has reserved. It is long enough for the timer and
# a transaction or two.
HORIZON = timedelta(milliseconds=100)
# The same where no other dispatcher works for the account. Larger claims delay no event then: an event takes this
# dispatcher's next slot, however far ahead its slots are reserved.
HORIZON_ALONE = timedelta(milliseconds=500)
# Attempts are written this long before the slot of the first claimed batch row, together with the attempts of the rows
# of the next flush. `OPEN_BEFORE` is early enough that a slow database delays no call; if a flush has just begun, the
# attempts wait for the next flush, but not beyond `OPEN_AT_LATEST`.
OPEN_BEFORE, OPEN_AT_LATEST = timedelta(milliseconds=100), timedelta(milliseconds=50)
# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)
# No slot is reserved further ahead than this and twice the lead; the second is for a clock that was set meanwhile.
FURTHEST_SLOT = HORIZON_ALONE + EVENTS_AHEAD + timedelta(seconds=1)
# The slot of a row for which none is left: the slots lapsed.
_PASSED = datetime.min.replace(tzinfo=UTC)
# How many events at most are opened in the transaction that claims them; the rest wait for a flush. Few, because as
# many permits are kept free for them until the claim ends.
OPEN_IN_CLAIM = 5
# A dispatcher ends when nothing is due for longer than this.
LINGER = timedelta(seconds=1)

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
        self._look_again = asyncio.Event()  # set when the loop of `run` may have something to do

        # Permits: how many calls this dispatcher may have in flight, as the last claim granted.
        self._permits = work.permits
        self._check_permits_at: datetime | None = None  # when to ask again how many permits there are

        # Rows on their way to a call.
        self._claimed: deque[ItemT] = deque()  # leased, attempt not written yet
        self._opened: deque[tuple[OpenedT, int]] = deque()  # attempt written; with the halt count of that moment
        self._calls: set[asyncio.Task[None]] = set()  # one task for each permit in use; it makes call after call
        # The slots of the rows above and of those that the flush opens, earliest first. None: the call may go at once.
        self._slots: deque[datetime | None] = deque()
        self._unused_slots: list[datetime] = []  # in which no call was made: the next flush gives them back
        self._slots_lapsed = False  # before calls whose rows the next flush releases

        # Results that are not written yet.
        self._results_to_write: list[ResultT] = []
        self._event_results: list[ResultT] = []  # of events that have a next step: written at once

        # Halts: a result after which the account must not be called before that result is written.
        self._halted = asyncio.Event()  # set from such a result until the flush that writes it begins
        self._halt_count = 0  # a row that was opened under an earlier count is not called
        # A call waits here for its slot. Which row it is for is decided when the slot comes, so the row stays in
        # `_opened` until then.
        self._slot_gate = SlotGate(work.spacing, time=self._time, halt=self._halted, furthest=self._furthest)

        # The claim under way, if any.
        self._claim_task: asyncio.Task[ClaimedRows] | None = None
        self._claim_attempts = 0  # how many attempts it may write
        self._claim_halt_count = 0  # the halt count when it began
        self._events_asked: int | None = None  # how many events it asked for; None: it claims batch rows as well
        # When the next claim may begin.
        self._claim_planned_at: datetime | None = None  # None: nothing more is known to be due
        self._more_due = False  # the last claim brought rows, and left more
        self._batches_claimed_at = self._time() - CLAIM_EVERY  # when batch rows were last claimed
        self._woken_for_events = False  # a wake-up came: an event may be due
        self._woken_for_batches = False  # a wake-up came: batch rows may be due

        # The flush under way, if any.
        self._flush_task: asyncio.Task[None] | None = None
        self._flush_attempts = 0  # how many attempts it may write
        self._last_flush_at = self._time()
        self._database_unreachable = False  # until the results of a failed flush are written

    def wake(self, *, for_events: bool = True) -> None:
        """Something has become due: look again before ending. `for_events`: an event may be due, so look at once."""
        if for_events:
            self._woken_for_events = True
        else:
            self._woken_for_batches = True
        self._look_again.set()

    @property
    def unfinished(self) -> str:
        """What keeps this dispatcher from ending, in words."""
        calls = len(self._calls) - self._slot_gate.waiting
        unwritten = self._flush_task is not None or self._results_to_write or self._event_results
        found = [f"{calls} calls in flight"] if calls else []
        found += ["results to write"] if unwritten else []
        found += ["a claim"] if self._claim_task is not None else []
        return ", ".join(found) or "its last step"

    @property
    def outage(self) -> Outage:
        """The outage of the database, as the results meet it that wait to be written."""
        return self._writer.outage

    def _plan_claim(self, when: datetime) -> None:
        """Plan the next claim for this time, unless it is planned for an earlier one."""
        self._claim_planned_at = when if self._claim_planned_at is None else min(self._claim_planned_at, when)

    async def run(self) -> bool:
        """Work until nothing more may be done now. Returns whether more is due."""
        try:
            more = await self._work_until_done()
        finally:
            # Only after an exception are rows or results left here: rows are released, results are written.
            await self._finish()
        # A wake-up that came while this dispatcher ended went to no other dispatcher.
        return more or ((self._woken_for_events or self._woken_for_batches) and not self._stopping.is_set())

    async def _work_until_done(self) -> bool:
        ends_at = self._time() + self._longest
        self._claim_planned_at = self._time()
        while True:
            await self._collect_finished()
            now = self._time()
            finishing = self._stopping.is_set() or now >= ends_at
            if self._stopping.is_set():
                self._writer.stops()
            if finishing and self._claim_task is None and self._claimed:
                self._claim_planned_at = now  # the released rows are due for the next dispatcher
                await self._release_claimed()
            if self._flush_task is None:
                await self._flush_if_due(finishing=finishing)
            if finishing:
                self._decisions.not_done("claim", "the worker is stopping" if self._stopping.is_set() else "time is up")
            else:
                self._claim_if_due(self._time())
            self._fill_permits(finishing=finishing)
            busy = self._calls or self._claim_task is not None or self._flush_task is not None
            if not (busy or self._claimed or self._opened or self._results_to_write or self._event_results):
                if finishing:
                    return not self._stopping.is_set() and self._claim_planned_at is not None
                woken = self._woken_for_events or self._woken_for_batches
                if not woken and (self._claim_planned_at is None or self._claim_planned_at - self._time() > LINGER):
                    return False
            await self._sleep(finishing=finishing)

    @property
    def _room(self) -> Room:
        """What the next claim may ask for."""
        most = min(CLAIM_MOST, ROWS_PER_PERMIT * max(self._permits, 1))
        # … and as many as will be called until the next claim: short calls use a permit many times.
        lately = min(round(self._throughput.within(CLAIM_EVERY, self._time())), CLAIM_MOST)
        most = max(most, self._permits + max(self._calls_in_a_flush, lately))
        events = sum(item.is_event for item in self._claimed)
        attempts = min(self._attempts_for_events, OPEN_IN_CLAIM)
        lead = self._lead.lead
        return Room(max(most - len(self._claimed), 0), max(most - events, 0), len(self._calls), attempts, lead)

    @property
    def _free_permits(self) -> int:
        """Permits that no call uses and no opened row waits for."""
        opened = len(self._opened) + self._claim_attempts + self._flush_attempts
        return self._permits - (len(self._calls) - self._slot_gate.waiting) - opened

    @property
    def _attempts_for_events(self) -> int:
        """How many events may be opened, so that a killed worker leaves no more unknown outcomes than it may."""
        return max(self._free_permits + self._flush_size - len(self._results_to_write) - len(self._event_results), 0)

    @property
    def _flush_size(self) -> int:
        """How many rows are opened ahead at most: the calls of a flush, as many as there are permits, or a few."""
        return min(max(self._permits, FLUSH_LEAST, self._throughput.in_a_flush(self._time())), FLUSH_MOST)

    @property
    def _calls_in_a_flush(self) -> int:
        """How many calls are expected to end until the next flush, as the last calls show; at most a flush."""
        now = self._time()
        expected = self._throughput.in_a_flush(now)
        if self._lead.opening:  # a slow database: its flushes begin long before the slots of their rows
            latest = self._clock() + self._lead.opening
            expected = max(expected, sum(slot is not None and slot <= latest for slot in self._slots))
        return min(expected, self._flush_size)

    async def _collect_finished(self) -> None:
        """Take the rows of a claim that has ended, and forget a flush that has ended. Raises what either raised."""
        if self._claim_task is not None and self._claim_task.done():
            task, self._claim_task, self._claim_attempts = self._claim_task, None, 0
            claimed = task.result()
            self._keep(claimed)
            again_at = None if claimed.again_at is None else self._time.of(claimed.again_at)
            if self._events_asked is None:
                self._claim_planned_at = again_at
                self._more_due = again_at is not None and bool(claimed.items or claimed.opened)
            else:
                if again_at is not None:  # no wake-up will come for rows that could not be claimed yet
                    self._plan_claim(max(again_at, self._batches_claimed_at + CLAIM_EVERY))
                if 0 < self._events_asked <= len(claimed.items) + len(claimed.opened):
                    self._woken_for_events = True  # as many came as were asked for: there may be more
            if claimed.permits is not None:
                self._permits, self._check_permits_at = claimed.permits, self._time() + ASK_AGAIN
            if claimed.opened:
                self._queue_calls(claimed.opened, self._claim_halt_count)
        if self._flush_task is not None and self._flush_task.done():
            flush, self._flush_task, self._flush_attempts = self._flush_task, None, 0
            flush.result()

    def _keep(self, claimed: ClaimedRows) -> None:
        """Keep the claimed rows, events first, and their slots."""
        self._claimed = deque(sorted([*self._claimed, *claimed.items], key=lambda item: not item.is_event))
        rows = len(claimed.items) + len(claimed.opened)
        slots: Sequence[datetime | None] = claimed.slots or [None] * rows
        self._slots = deque(sorted([*self._slots, *slots], key=lambda slot: slot or _PASSED))

    def _furthest(self) -> timedelta:
        """How far ahead a slot may be; a longer wait would come from a wrong clock."""
        return FURTHEST_SLOT + 2 * self._lead.lead

    def _slot(self, index: int) -> datetime | None:
        """The slot of the row that is called after `index` others; None: at once."""
        return self._slots[index] if index < len(self._slots) else None

    def _free_slots(self, count: int) -> None:
        """So many rows are not called: their slots are the last ones."""
        for _ in range(min(count, len(self._slots))):
            slot = self._slots.pop()
            self._unused_slots += [] if slot is None else [slot]

    def _unused(self) -> list[datetime]:
        """The unused slots, to be given back now."""
        unused, self._unused_slots = self._unused_slots, []
        return unused

    @property
    def _may_claim(self) -> bool:
        # Not before the result that halted the account is written, nor while results cannot be written.
        return self._claim_task is None and not self._halted.is_set() and not self._database_unreachable

    @property
    def _next_claim_at(self) -> datetime | None:
        """When to claim next if no wake-up comes; None: do not claim."""
        if not self._may_claim:
            return None
        if len(self._claimed) < max(self._permits, self._calls_in_a_flush, 1) or self._claim_planned_at is None:
            return self._claim_planned_at
        # Enough rows are claimed. But only a claim tells how many permits there are now, where workers share them.
        return self._check_permits_at if len(self._calls) >= self._permits else None

    def _claim_if_due(self, now: datetime) -> None:
        if self._woken_for_batches and self._may_claim:
            self._woken_for_batches = False
            self._plan_claim(max(self._batches_claimed_at + CLAIM_EVERY, now))
        next_claim_at = self._next_claim_at
        due = next_claim_at is not None and next_claim_at <= now
        if not due and not (self._woken_for_events and self._may_claim):
            self._explain_no_claim()
            return
        room = self._room
        if not due:
            if not room.events:
                self._decisions.not_done("claim", "as many events as it may hold are claimed")
                return
            # A wake-up may be for an event, and events are claimed however many batch rows are claimed already. Batch
            # rows are claimed in chunks: if some were claimed just before, the next ones wait a little, because each
            # flush of results sends a wake-up.
            rested_at = self._batches_claimed_at + CLAIM_EVERY
            if now < rested_at or not room.rows:
                room = replace(room, rows=0)
                self._plan_claim(max(rested_at, now))
        self._woken_for_events = False
        self._batches_claimed_at = now if room.rows else self._batches_claimed_at
        self._start_claim(room, self._in_thread(self._work.claim, room))

    def _explain_no_claim(self) -> None:
        if not self._decisions.enabled or self._claim_task is not None:
            return
        if self._halted.is_set():
            reason = "a result that halts the account is not written yet"
        elif self._database_unreachable:
            reason = "the database cannot be reached"
        elif self._claim_planned_at is None:
            reason = "nothing more is known to be due"
        elif self._next_claim_at != self._claim_planned_at:
            reason = "enough rows are claimed"
        else:
            ahead = (self._claim_planned_at - self._time()).total_seconds()
            reason = f"the next claim is planned in {max(ahead, 0):.3f} s"
        self._decisions.not_done("claim", reason)

    def _start_claim(self, room: Room, claiming: Awaitable[ClaimedRows]) -> None:
        self._decisions.done("claim")
        self._events_asked = room.events if not room.rows else None
        self._claim_attempts, self._claim_halt_count = room.attempts, self._halt_count
        self._claim_task = self._in_background(self._claim(claiming))

    async def _claim(self, claiming: Awaitable[ClaimedRows]) -> ClaimedRows:
        began_at = self._time()
        try:
            claimed = await claiming
            self._lead.claimed(self._time() - began_at)
            return claimed
        except UnknownClaim as lost:
            # The rows may be ours, and their attempts say that calls may have been made. Release them before any call.
            await self._writer.insist(len(lost.items), self._work.release, lost.items)
            return ClaimedRows([], again_at=self._clock())

    async def _flush_if_due(self, *, finishing: bool) -> None:
        """Begin a flush if results are to be written or rows are to be opened."""
        now = self._time()
        halted = self._halted.is_set()
        chunk = [] if finishing or halted else self._rows_to_open(self._clock())
        results_due = (self._results_to_write or self._event_results) and (
            halted or now - self._last_flush_at >= FLUSH_EVERY or len(self._results_to_write) >= FLUSH_MOST
        )
        events = list(takewhile(lambda item: item.is_event, chunk))
        chunk_due = len(chunk) > len(events) and (
            self._opens_at(self._slot(len(self._opened) + len(events)), now) <= now
            # The permits that are kept free for the events of a claim count as free here.
            and (
                self._free_permits + self._claim_attempts >= max(self._permits // EMPTY_PERMITS_FRACTION, 1)
                or not self._calls
            )
        )
        if not chunk_due and not events and self._claimed:
            self._explain_no_open(chunk)
        if not (results_due or chunk_due or self._event_results or events):
            return
        if halted:
            await self._release_claimed()
        results, self._event_results = self._event_results, []
        if results_due or chunk_due:
            results, self._results_to_write = [*results, *self._results_to_write], []
            self._last_flush_at = now
        else:
            chunk = events  # alone, so that the transaction is short: the other rows wait for their flush
        for _ in chunk:
            self._claimed.popleft()
        self._halted.clear()  # this flush writes the result that set it; a call may set it again meanwhile
        self._flush_attempts = len(chunk)
        if chunk:
            self._decisions.done("attempt")
        # The halt count of now, not of the task's beginning: after a halt in between, these rows must not be called.
        self._flush_task = self._in_background(self._flush(results, chunk, self._halt_count))

    def _explain_no_open(self, chunk: Sequence[ItemT]) -> None:
        if not self._decisions.enabled:
            return
        slot = self._slot(len(self._opened))
        if self._halted.is_set():
            reason = "a result that halts the account is not written yet"
        elif self._free_permits <= 0:
            reason = "no permit is free"
        elif slot is not None and self._opens_at(slot, self._time()) > self._time():
            reason = f"the next slot is at {slot:%H:%M:%S.%f}"
        else:
            reason = "too few permits are free for a transaction of their own"
        self._decisions.not_done("attempt", reason)

    def _opens_at(self, slot: datetime | None, now: datetime) -> datetime:
        """When to open batch rows, the first of which has this slot."""
        if slot is None:
            return now
        slot = self._time.of(slot, most=self._furthest())
        takes = self._lead.opening
        return min(max(slot - OPEN_BEFORE - takes, self._last_flush_at + FLUSH_EVERY), slot - OPEN_AT_LATEST - takes)

    def _rows_to_open(self, now: datetime) -> list[ItemT]:
        """The claimed rows to open next: for the free permits, and for the calls expected to end until the next flush.

        The opened rows without a permit are then those that will be called while the next flush is written. So a killed
        worker leaves at most the permits and one flush with an unknown outcome. Events may use all of that, however
        many rows are opened already: events take the slots of those rows.
        """
        room = self._free_permits + self._calls_in_a_flush
        room_for_events = self._attempts_for_events
        chunk: list[ItemT] = []
        latest = now + OPEN_BEFORE + FLUSH_EVERY + self._lead.opening
        for item in self._claimed:
            too_early = (self._slot(len(self._opened) + len(chunk)) or now) > latest
            if len(chunk) >= (room_for_events if item.is_event else room) or (too_early and not item.is_event):
                break
            chunk.append(item)
        return chunk

    async def _flush(self, results: list[ResultT], chunk: list[ItemT], halt_count: int) -> None:
        """Write the results and open the rows of this chunk, then call them. Release rows that cannot be opened."""
        now = self._clock()
        # A full claim shows that rows wait only where a limit made it short: where there is none, claims are small.
        waiting = bool(self._claimed or self._opened) or (self._more_due and bool(self._work.spacing))
        stretch = self._busy_stretch.at_flush(self._time(), waiting=waiting, results=bool(results))
        too_late = self._rows_without_slots(chunk, now)
        slots_lapsed, self._slots_lapsed = self._slots_lapsed or bool(too_late), False
        rows = len(chunk)  # that have slots: those of the others are forgotten already
        too_late += [item for item in chunk if not self._in_time(item, now)]
        chunk = [item for item in chunk if self._in_time(item, now)]
        unused = self._unused()
        began_at = self._time()
        opened: Sequence[OpenedT] = []
        try:
            opened = await self._in_thread(self._work.flush, results, chunk, stretch, unused)
            self._lead.flushed(self._time() - began_at)
        except Exception as error:
            # Whatever it is (it may be a bug): the results must not be lost for it.
            self._database_unreachable = isinstance(error, sa.exc.OperationalError)
            if isinstance(error, sa.exc.OperationalError):
                # Opened rows must not be called: their results could not be written.
                self._halt_count += 1
                await self._writer.wait(error)
            else:
                log.error("%s: a flush failed with %s", self._work.name, type(error).__name__)
            self._unused_slots += unused
            await self._writer.write(results)
            if self._database_unreachable:
                too_late += chunk
                self._woken_for_events = True  # the released rows can be claimed again at once
            else:
                opened = await self._open_in_parts(chunk)
        self._free_slots(rows - len(opened))
        self._queue_calls(opened, halt_count)
        if too_late:
            await self._writer.insist(len(too_late), self._work.release, too_late, self._unused())
        if slots_lapsed and len(self._calls) - self._slot_gate.waiting < self._permits:
            self._plan_claim(self._time())  # the database was slow, not the calls: now the lead is known
        self._database_unreachable = False

    def _rows_without_slots(self, chunk: list[ItemT], now: datetime) -> list[ItemT]:
        """Forget the slots that have lapsed. Removes as many rows from the end of the queue and returns them."""
        lapsed_slots = 0
        while self._slots and self._slots[0] is not None and lapsed(self._slots[0], now=now):
            self._slots.popleft()
            lapsed_slots += 1
        rows = [self._claimed.pop() for _ in range(min(lapsed_slots, len(self._claimed)))]
        rows += [chunk.pop() for _ in range(min(lapsed_slots - len(rows), len(chunk)))]
        return rows[::-1]

    async def _open_in_parts(self, items: Sequence[ItemT]) -> list[OpenedT]:
        """Open rows that could not be opened with their flush. A row that cannot be opened alone is held."""
        if not items:
            return []
        try:
            opened: list[OpenedT] = await self._in_thread(self._work.flush, [], items)
        except sa.exc.OperationalError:
            await self._writer.insist(len(items), self._work.release, items)
            return []
        except Exception as error:
            if len(items) > 1:
                half = len(items) // 2
                return [*await self._open_in_parts(items[:half]), *await self._open_in_parts(items[half:])]
            kind = type(error).__name__
            log.error("%s: an attempt cannot be written (%s); its row is held", self._work.name, kind)
            await self._writer.insist(1, self._work.hold, items, kind)
            return []
        return opened

    def _queue_calls(self, opened: Sequence[OpenedT], halt_count: int) -> None:
        """Queue opened rows for their calls, events first, and begin calls in the free permits."""
        rows = [*self._opened, *((item, halt_count) for item in opened)]
        self._opened = deque(sorted(rows, key=lambda row: not self._work.item(row[0]).is_event))
        self._fill_permits(finishing=False)

    def _fill_permits(self, *, finishing: bool) -> None:
        """Begin calls of opened rows in the free permits."""
        if self._opened and not self._permits:
            self._decisions.not_done("call", "other workers hold all permits")
        if finishing and not self._permits:  # only a claim grants permits, and there are no more claims
            self._give_up_opened()
        for _ in range(min(len(self._opened) - self._slot_gate.waiting, self._permits - len(self._calls))):
            task = asyncio.create_task(self._call_with_permit())
            self._calls.add(task)
            task.add_done_callback(self._permit_freed)

    async def _call_with_permit(self) -> None:
        """Call opened rows, one after the other, while there are any and the permit is still this dispatcher's."""
        while len(self._opened) > self._slot_gate.waiting and len(self._calls) <= self._permits:
            await self._slot_gate.wait(self._next_slot)
            if not self._opened or len(self._calls) > self._permits:
                return
            opened, halt_count = self._opened.popleft()
            slot = self._slots.popleft() if self._slots else _PASSED
            result = await self._call(opened, slot, halt_count)
            if self._work.halts(result):
                self._halt_count += 1
                self._halted.set()
            follows = self._work.has_next_step and self._work.item(opened).is_event
            (self._event_results if follows else self._results_to_write).append(result)
            self._throughput.add(self._time())
            many = len(self._results_to_write) >= FLUSH_MOST
            if self._event_results or self._halted.is_set() or len(self._results_to_write) == 1 or many:
                self._look_again.set()

    def _next_slot(self) -> datetime | None:
        return self._slot(0) if self._opened else None

    def _permit_freed(self, permit: "asyncio.Task[None]") -> None:
        self._calls.discard(permit)
        self._look_again.set()

    def _in_background(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin a task that runs in parallel to the calls. At its end the dispatcher looks again."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._look_again.set())
        return task

    def _in_time(self, item: ItemT, now: datetime) -> bool:
        """Whether a call that begins now ends under the row's lease."""
        return now + self._work.longest_call <= item.lease_until

    async def _call(self, opened: OpenedT, slot: datetime | None, halt_count: int) -> ResultT:
        # The last check before the call: the account is not halted, the worker not stopping, lease and slot are valid.
        reason, now = "", self._clock()
        if self._halt_count != halt_count:
            reason = "opened before the account was halted, the database was lost or the dispatcher ended"
        elif self._stopping.is_set():
            reason = "the worker is stopping"
        elif not self._in_time(self._work.item(opened), now):
            reason = "the lease has passed"
        elif slot is not None and lapsed(slot, now=now):
            reason = "the slot has passed"
            self._slots_lapsed = True
        if reason:
            self._decisions.not_done("call", reason)
            self._unused_slots += [] if slot in (None, _PASSED) else [slot]
            return self._work.not_made(opened)
        self._decisions.done("call")
        try:
            result = await self._work.call(opened)
            self._busy_stretch.call_ended()
            return result
        except Exception as error:  # a bug must not lose the row: its call may have been made
            log.error("%s: a call failed with %s", self._work.name, type(error).__name__)
            return self._work.crashed(opened, error)

    async def _release_claimed(self) -> None:
        if self._claimed or self._unused_slots:
            items = list(self._claimed)
            self._claimed.clear()
            self._free_slots(len(items))
            await self._in_thread(self._work.release, items, self._unused())

    def _give_up_opened(self) -> None:
        """Call none of the opened rows."""
        self._results_to_write.extend(self._work.not_made(opened) for opened, _ in self._opened)
        self._free_slots(len(self._opened))
        self._opened.clear()

    async def _sleep(self, *, finishing: bool) -> None:
        """Wait for a result, a wake-up, or the next planned time."""
        now = self._time()
        times = [now + LINGER]
        if (self._results_to_write or self._event_results) and self._flush_task is None:
            times.append(self._last_flush_at + FLUSH_EVERY)
        if self._next_claim_at is not None and not finishing:
            times.append(self._next_claim_at)
        if self._claimed and self._flush_task is None and self._free_permits > 0:
            opens_at = self._opens_at(self._slot(len(self._opened)), now)
            if opens_at > now:  # if its time has come, it waits for free permits: a call that ends wakes the loop
                times.append(opens_at)
        wait = (min(times) - now).total_seconds()
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._look_again.wait()
        except TimeoutError:
            pass
        self._look_again.clear()

    async def _finish(self) -> None:
        """End the calls, write the results, release the rows and the permits."""
        self._halt_count += 1
        self._halted.set()
        background = [task for task in (self._claim_task, self._flush_task) if task is not None]
        while self._calls or background:
            await asyncio.wait([*self._calls, *background])
            background = []  # a flush may open more rows, whose calls end at once: the halt count has changed
        if self._flush_task is not None:
            self._flush_task.exception()  # read, so that asyncio does not log it: `run` is raising one already
        if self._claim_task is not None and self._claim_task.exception() is None:
            claimed = self._claim_task.result()
            self._keep(claimed)
            self._opened.extend((opened, self._claim_halt_count) for opened in claimed.opened)
        self._give_up_opened()  # they had no permit
        if self._results_to_write or self._event_results:
            results, self._results_to_write, self._event_results = (
                [*self._event_results, *self._results_to_write],
                [],
                [],
            )
            await self._writer.write(results)
        await self._release_claimed()
        try:
            await self._in_thread(self._work.release_permits)
        except sa.exc.SQLAlchemyError as error:  # other workers get the permits when their time is over
            log.warning(
                "%s: the permits could not be released, they lapse by themselves: %s",
                self._work.name,
                type(error).__name__,
            )
