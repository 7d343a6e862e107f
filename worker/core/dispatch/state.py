"""What a dispatcher works on, and what its parts share: opened rows, results, flushes under way, halts, calls, time."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol

from worker.core.dispatch.prefetch import Ahead, Prefetch, SteadyTime
from worker.core.foundation.clock import Clock
from worker.core.limits.store.claims import Room
from worker.core.limits.store.flush import CallResult, Flushed, OpenedT
from worker.core.limits.throughput import Stretch
from worker.core.model.http_messages import MayWrite
from worker.core.model.metrics import NOT_COUNTED, WorkMeter

_AT_ONCE = datetime.min.replace(tzinfo=UTC)
STRETCH = timedelta(seconds=1)  # a busy stretch is written with the first flush after this time


class Work(Protocol[OpenedT]):
    """What a dispatcher works on.

    `flush`, `release` and `release_permits` are blocking calls to the store. They read the time themselves, where their
    transaction begins: the process may stand still on its way from the loop to there.
    """

    name: str
    permits: int  # calls in flight, until the first claim says how many
    longest_call: timedelta  # from the last check of the lease until the result is written
    has_next_step: bool  # whether written results make other rows due
    database_time: Callable[[], datetime] | None  # blocking; None: leases are not checked by the database's time

    def flush(
        self,
        results: Sequence[CallResult[OpenedT]],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[OpenedT]:
        """Write these results, and then claim rows and open them, in one transaction; room None: claim nothing.

        `stretch`: a busy stretch of calls that has ended, for the measured pace. `unused`: slots in which no call is
        made. Raises limits.store.flush.UnknownFlush if rows may have been opened: `release` releases them.
        """

    async def call(self, opened: OpenedT, now: datetime, may_write: MayWrite, /) -> CallResult[OpenedT]:
        """Make the call. `now`: the time of the last check before it.

        If `may_write` says no, nothing is written, and whatever is returned does not count: the call was not made.
        """

    def skipped(self, opened: OpenedT) -> CallResult[OpenedT]:
        """The result of an opened row whose call was not made."""

    def after_crash(self, opened: OpenedT, error: Exception) -> CallResult[OpenedT]:
        """The result of a call that raised: a bug, so the outcome of the call is unknown."""

    def unsaved(self, result: CallResult[OpenedT], kind: str) -> CallResult[OpenedT]:
        """What is written instead of a result that cannot be written: its row is held. `kind` names the exception."""

    def release(self, opened: Sequence[OpenedT]) -> None:
        """Release rows for which no call was made, whether or not their attempts were written."""

    def release_permits(self) -> None:
        """Release all permits of this dispatcher: it has ended."""


class OpenedRows(Generic[OpenedT]):
    """The rows whose attempts are written and whose calls have not begun, and the slots of these calls.

    Events go first. A slot belongs to no row: the first one goes to the row that is called first. Each row has the
    count of halts at the moment of its flush.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[OpenedT, int]] = deque()
        self._others: deque[tuple[OpenedT, int]] = deque()
        self._slots: deque[datetime | None] = deque()  # earliest first; None: the call may go at once
        self._unused: list[datetime] = []  # in which no call is made: the next flush releases them
        self.spacing = timedelta(0)  # the least time between two calls, as the last claim had it; zero: no rate limit

    def __len__(self) -> int:
        return len(self.events) + len(self._others)

    def add(self, opened: Sequence[OpenedT], slots: Sequence[datetime], spacing: timedelta, halts: int) -> bool:
        """Add opened rows with their slots; no slots: their calls may go at once. Returns whether events are there."""
        if opened:
            self.spacing = spacing
        for each in opened:
            (self.events if each.is_event else self._others).append((each, halts))
        if slots:
            self._slots = deque(sorted([*self._slots, *slots], key=lambda slot: slot or _AT_ONCE))
        else:
            self._slots.extendleft([None] * len(opened))
        return bool(self.events)

    @property
    def oldest(self) -> list[OpenedT]:
        """The first event and the first other row: no lease ends before theirs."""
        return [queue[0][0] for queue in (self.events, self._others) if queue]

    def next_slot(self) -> datetime | None:
        """The slot of the next call; None: at once, or there is no row."""
        return self._slots[0] if self._slots else None

    def take(self, *, last: bool = False) -> tuple[OpenedT, bool, datetime | None, int]:
        """The row to call now, whether it is an event's, its slot, and the count of halts when it was opened.

        `last`: for a slot that has passed, the row that has waited least, an event's only if there is no other. The
        rows that have waited longer get the later slots.
        """
        is_event = not self._others if last else bool(self.events)
        queue = self.events if is_event else self._others
        opened, halts = queue.pop() if last else queue.popleft()
        return opened, is_event, self._slots.popleft(), halts

    def take_all(self) -> list[OpenedT]:
        """All rows. None of them is called, so their slots are unused."""
        rows = [opened for opened, _ in (*self.events, *self._others)]
        for slot in self._slots:
            self.not_used(slot)
        for queue in (self.events, self._others, self._slots):
            queue.clear()
        return rows

    def not_used(self, slot: datetime | None) -> None:
        """No call is made in this slot."""
        if slot is not None:
            self._unused.append(slot)

    def unused(self) -> list[datetime]:
        """The unused slots, to be released now."""
        unused, self._unused = self._unused, []
        return unused


class Results(Generic[OpenedT]):
    """Results that are not being written yet. `of_events`: of events that have a next step: written at once."""

    def __init__(self) -> None:
        self.of_events: list[CallResult[OpenedT]] = []
        self.others: list[CallResult[OpenedT]] = []

    def __len__(self) -> int:
        return len(self.of_events) + len(self.others)

    def take(self, *, of_events: bool, others: bool) -> list[CallResult[OpenedT]]:
        taken: list[CallResult[OpenedT]] = []
        if of_events:
            taken, self.of_events = self.of_events, []
        if others:
            taken, self.others = [*taken, *self.others], []
        return taken


class FlushTask:
    """One flush at a time. `rows`: how many it may open; `results`: how many it writes."""

    def __init__(self, *, for_events: bool) -> None:
        self.for_events = for_events
        self.flush: asyncio.Task[None] | None = None
        self.rows = self.results = 0
        self.writes_halt = False  # of a result that halts the account: a claim would not see it in the database yet


class FlushTasks:
    """The flushes under way. Two for batches: while one waits for the database, the other prepares its statements. One
    for events, which wait for no batch.
    """

    def __init__(self) -> None:
        self.batches = (FlushTask(for_events=False), FlushTask(for_events=False))
        self.events = FlushTask(for_events=True)
        self.each = (*self.batches, self.events)

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        return [task.flush for task in self.each if task.flush is not None]

    @property
    def free_for_batches(self) -> list[FlushTask]:
        return [task for task in self.batches if task.flush is None]

    @property
    def write_halt(self) -> bool:
        """Whether a result that halts the account is being written."""
        return any(task.writes_halt for task in self.each)

    def end(self) -> None:
        """Free the tasks whose flush has ended. Raises what a claim raised."""
        for task in self.each:
            if task.flush is not None and task.flush.done():
                flush, task.flush, task.rows, task.results, task.writes_halt = task.flush, None, 0, 0, False
                flush.result()


class BusyStretch:
    """The calls that ended since a time, while rows waited for theirs at every flush."""

    def __init__(self, now: datetime) -> None:
        self._since = now
        self.calls = 0  # that were made, and have ended
        self._busy = False  # no stretch yet: the first flush begins one

    def at_flush(self, now: datetime, *, waiting: bool, results: bool) -> Stretch | None:
        """The stretch that ends with this flush, if it is long enough and the flush has `results` to write it with.

        `waiting`: rows wait for their calls.
        """
        if not (self._busy and waiting):
            self._since, self.calls, self._busy = now, 0, waiting
            return None
        if not (results and self.calls) or now - self._since < STRETCH:
            return None
        stretch = Stretch(self.calls, now - self._since)
        self._since, self.calls = now, 0
        return stretch


class DecisionLog:
    """Logs at DEBUG why a dispatcher does not claim or call: one line when a reason changes, not one in each loop."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._reasons: dict[str, str] = {}

    def not_done(self, what: str, reason: str) -> None:
        """Log that the dispatcher does not do this, unless this reason was the last one logged for it."""
        if self._log.isEnabledFor(logging.DEBUG) and self._reasons.get(what) != reason:
            self._reasons[what] = reason
            self._log.debug("%s: no %s: %s", self._name, what, reason)

    def done(self, what: str) -> None:
        """The dispatcher did this: if it stops again for the same reason, that is logged again."""
        self._reasons.pop(what, None)


class State(Generic[OpenedT]):
    """Of one dispatcher. `look_again` is set when its loop may have something to do."""

    def __init__(
        self, work: Work[OpenedT], log: logging.Logger, *, clock: Clock, meter: WorkMeter = NOT_COUNTED
    ) -> None:
        self.work, self.clock, self.meter = work, clock, meter
        self.time = SteadyTime(clock)  # of everything that is planned here
        self.rows: OpenedRows[OpenedT] = OpenedRows()
        self.results: Results[OpenedT] = Results()
        self.flush_tasks = FlushTasks()
        self.halts = 0  # a row that was opened under an earlier count is not called
        self.unwritten_halt = asyncio.Event()  # set while a result that halts exists that no flush has begun to write
        self.busy_stretch = BusyStretch(self.time())
        self.decisions = DecisionLog(log, work.name)
        self.look_again = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()  # one for each permit in use; it makes call after call
        self.waiting = 0  # how many of them wait for their slot; which row each is for is not decided yet

    @property
    def in_flight(self) -> int:
        """Calls."""
        return len(self.tasks) - self.waiting

    def halt(self) -> None:
        """A result concerns the whole account. No row that was opened before is called; until the result is written,
        nothing is claimed either."""
        self.halts += 1
        self.unwritten_halt.set()

    def ahead(self, prefetch: Prefetch) -> Ahead:
        """What may be opened now, with what is opened already, and with what the flushes under way open and write."""
        tasks = self.flush_tasks.each
        return prefetch.ahead(
            in_flight=self.in_flight,
            opened=len(self.rows) + sum(task.rows for task in tasks),
            unwritten=len(self.results) + sum(task.results for task in tasks),
            events=len(self.rows.events),
            spacing=self.rows.spacing,
        )
