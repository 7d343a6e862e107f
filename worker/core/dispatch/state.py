"""What a dispatcher works on, and what its parts share: opened rows, results, flushes under way, halts, calls, time."""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult, Flushed, PolicyT, Rows, RowT
from onboarding_worker.core.dispatch.prefetch import Ahead, ClaimPlan, Prefetch, SteadyTime
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.model.endings import Ending, Hold, Kind, Problem, ending_for, row_due_after_pause
from onboarding_worker.core.model.http_messages import MayWrite
from onboarding_worker.core.model.metrics import Meters, Metric, WorkMeter
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.budgets import FLUSH_MARGIN
from onboarding_worker.core.rules.call_outcomes import SecondLook
from onboarding_worker.core.rules.reconciliation import ending_of_reconciliation
from onboarding_worker.core.rules.throughput import Stretch

log = logging.getLogger(__name__)
_AT_ONCE = datetime.min.replace(tzinfo=UTC)
STRETCH = timedelta(seconds=1)  # a busy stretch is written with the first flush after this time


@dataclass(kw_only=True)
class Work(ABC, Generic[RowT, PolicyT]):
    """What a dispatcher works on, and what both kinds share: their flushes, and how a call ends that has no answer.

    `flush`, `release` and `release_permits` are blocking calls to the store. They read the time themselves, where their
    transaction begins: the process may stand still on its way from the loop to there.
    """

    step: ClassVar[str]
    doing: ClassVar[str]  # the words for what a call that raised was doing
    metric: ClassVar[Metric]  # that counts them
    has_next_step: ClassVar[bool] = False  # whether written results make other rows due

    policy: PolicyT
    rows: Rows[PolicyT, RowT]
    timeout: timedelta
    second_look: SecondLook
    clock: Clock
    jitter: Callable[[], float] = random.random
    meters: Meters = field(default_factory=Meters)

    name: str = field(init=False)
    permits: int = field(init=False)  # calls in flight, until the first claim says how many
    longest_call: timedelta = field(init=False)  # from the last check of the lease until the result is written
    # Blocking; None: leases are not checked by the database's time.
    database_time: Callable[[], datetime] | None = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.step}({self.policy.claims_for})"
        self.permits = self.policy.rule.concurrency
        self.longest_call = self.timeout + FLUSH_MARGIN
        self.database_time = self.rows.database_time

    def flush(
        self,
        results: Sequence[CallResult[RowT]],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[RowT]:
        """Write these results, and then claim rows and open them, in one transaction: `claim.flush.Rows.flush`.

        Raises UnknownFlush if rows may have been opened: `release` releases them.
        """
        flushed = self.rows.flush(self.policy, results, room, clock=self.clock, stretch=stretch, unused=unused)
        if results:
            self.written(results)
        return flushed

    def written(self, results: Sequence[CallResult[RowT]]) -> None:
        """Count and log these results, which are in the database now."""
        steps = ["not made" if each.ending is None else type(each.ending).__name__.lower() for each in results]
        outcomes = Counter(
            result.problem.kind.value if result.problem is not None else step
            for result, step in zip(results, steps, strict=True)
            if result.ending is not None  # a call that was not made is none
        )
        for outcome, number in outcomes.items():
            self.meters.add(self.metric, self.policy.claims_for, outcome, amount=number)
        # A line for the chunk, and one for each step: job, ending, kind, seconds until it was written.
        now = self.clock()
        counts = sorted(Counter(steps).items())
        log.info("%s: %s", self.name, ", ".join(f"{number} {step}" for step, number in counts))
        # A step without a problem is a line at DEBUG, so of most chunks none is shown.
        for result, step in zip(results, steps, strict=True):
            problem, job_id = result.problem, result.row.job_id
            level = logging.DEBUG if problem is None else logging.INFO
            if log.isEnabledFor(level):
                why = f" ({problem.kind.value}{f' {problem.code}' if problem.code else ''})" if problem else ""
                seconds = (now - result.began_at).total_seconds()
                extra = {"batch": result.row.batch_id, "job": job_id}
                log.log(level, "%s: job %d: %s%s, %.3f s", self.name, job_id, step, why, seconds, extra=extra)

    @abstractmethod
    async def call(self, opened: RowT, now: datetime, may_write: MayWrite, /) -> CallResult[RowT]:
        """Make the call. `now`: the time of the last check before it.

        If `may_write` says no, nothing is written, and whatever is returned does not count: the call was not made.
        """

    def ending(self, opened: RowT, problem: Problem, now: datetime) -> Ending:
        """How the step of this row ends with a problem."""
        retry = self.policy.rule.retry
        return ending_for(
            problem,
            attempt=opened.attempts + 1,
            repeatable=opened.repeatable,
            policy=retry,
            resume_at=row_due_after_pause(problem, retry, now),
            now=now,
            jitter=self.jitter(),
            reconcile_at=opened.reconcile_at,
        )

    def skipped(self, opened: RowT) -> CallResult[RowT]:
        """The result of an opened row whose call was not made."""
        return CallResult(opened, self.clock(), None, None)

    def after_crash(self, opened: RowT, error: Exception) -> CallResult[RowT]:
        """The result of a call that raised: a bug, so the outcome of the call is unknown."""
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} {self.doing}")
        now, call, retry = self.clock(), opened.unknown_call, self.policy.rule.retry
        if call is None:
            return CallResult(opened, now, self.ending(opened, problem, now), problem)
        ending = ending_of_reconciliation(problem, call, opened.attempts, retry, now, self.jitter())
        return CallResult(opened, now, ending, problem)

    def unsaved(self, result: CallResult[RowT], kind: str) -> CallResult[RowT]:
        """What is written instead of a result that cannot be written: its row is held. `kind` names the exception."""
        reference = result.session.lasting_reference if result.session is not None else result.reference
        named = reference.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")[:100]
        opened = f" (the other side calls it {named})" if named else ""
        why = f"the call was answered{opened}, and nothing of the answer could be kept: {kind}"
        return CallResult(result.row, result.began_at, Hold(Reason.CANNOT_KEEP, why), Problem(Kind.UNKNOWN, why))

    def release(self, opened: Sequence[RowT]) -> None:
        """Release rows for which no call was made, whether or not their attempts were written."""
        self.rows.release(self.policy, opened, now=self.clock())

    def release_permits(self) -> None:
        """Release all permits of this dispatcher: it has ended."""
        self.rows.release_permits(self.policy)


class OpenedRows(Generic[RowT]):
    """The rows whose attempts are written and whose calls have not begun, and the slots of these calls.

    Events go first. A slot belongs to no row: the first one goes to the row that is called first. Each row has the
    count of halts at the moment of its flush.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[RowT, int]] = deque()
        self._others: deque[tuple[RowT, int]] = deque()
        self._slots: deque[datetime | None] = deque()  # earliest first; None: the call may go at once
        self._unused: list[datetime] = []  # in which no call is made: the next flush releases them
        self.spacing = timedelta(0)  # the least time between two calls, as the last claim had it; zero: no rate limit

    def __len__(self) -> int:
        return len(self.events) + len(self._others)

    def add(self, opened: Sequence[RowT], slots: Sequence[datetime], spacing: timedelta, halts: int) -> bool:
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
    def oldest(self) -> list[RowT]:
        """The first event and the first other row: no lease ends before theirs."""
        return [queue[0][0] for queue in (self.events, self._others) if queue]

    def next_slot(self) -> datetime | None:
        """The slot of the next call; None: at once, or there is no row."""
        return self._slots[0] if self._slots else None

    def take(self, *, last: bool = False) -> tuple[RowT, bool, datetime | None, int]:
        """The row to call now, whether it is an event's, its slot, and the count of halts when it was opened.

        `last`: for a slot that has passed, the row that has waited least, an event's only if there is no other. The
        rows that have waited longer get the later slots.
        """
        is_event = not self._others if last else bool(self.events)
        queue = self.events if is_event else self._others
        opened, halts = queue.pop() if last else queue.popleft()
        return opened, is_event, self._slots.popleft(), halts

    def take_all(self) -> list[RowT]:
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


class Results(Generic[RowT]):
    """Results that are not being written yet. `of_events`: of events that have a next step: written at once."""

    def __init__(self) -> None:
        self.of_events: list[CallResult[RowT]] = []
        self.others: list[CallResult[RowT]] = []

    def __len__(self) -> int:
        return len(self.of_events) + len(self.others)

    def take(self, *, of_events: bool, others: bool) -> list[CallResult[RowT]]:
        taken: list[CallResult[RowT]] = []
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


class FlushTasks:
    """The flushes under way. Two for batches: while one waits for the database, the other prepares its statements. One
    for events, which wait for no batch.
    """

    def __init__(self) -> None:
        self.batches = (FlushTask(for_events=False), FlushTask(for_events=False))
        self.events = FlushTask(for_events=True)
        self.each = (*self.batches, self.events)
        # Those that write a result that halts the account: a claim would not see it in the database yet.
        self.of_halts: set[FlushTask] = set()

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        return [task.flush for task in self.each if task.flush is not None]

    @property
    def of_batches(self) -> int:
        """How many flushes of batches are under way."""
        return sum(task.flush is not None for task in self.batches)

    def end(self) -> None:
        """Free the tasks whose flush has ended. Raises what a claim raised."""
        for task in self.each:
            if task.flush is not None and task.flush.done():
                flush, task.flush, task.rows, task.results = task.flush, None, 0, 0
                self.of_halts.discard(task)
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

    def note(self, what: str, *, why_not: str = "") -> None:
        """The dispatcher does this, or does not: that is logged, unless this reason was the last one for it. After it
        was done the same reason is logged again."""
        if self._log.isEnabledFor(logging.DEBUG) and self._reasons.get(what, "") != why_not:
            self._reasons[what] = why_not
            if why_not:
                self._log.debug("%s: no %s: %s", self._name, what, why_not)


class State(Generic[RowT]):
    """Of one dispatcher. `look_again` is set when its loop may have something to do."""

    def __init__(
        self,
        work: Work[RowT, Any],
        log: logging.Logger,
        *,
        clock: Clock,
        in_turn: Callable[..., Any],
        stopping: asyncio.Event,
        wake_others: Callable[[], object],
        meter: WorkMeter,
    ) -> None:
        """As for `Dispatcher`."""
        self.work, self.clock, self.in_turn, self.stopping, self.meter = work, clock, in_turn, stopping, meter
        self.time = SteadyTime(clock)  # of everything that is planned here
        self.plan = ClaimPlan(self.time, wake_others)
        self.prefetch = Prefetch(work.permits, self.time.seconds)
        self.rows: OpenedRows[RowT] = OpenedRows()
        self.results: Results[RowT] = Results()
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

    def ahead(self) -> Ahead:
        """What may be opened now, with what is opened already, and with what the flushes under way open and write."""
        tasks = self.flush_tasks.each
        return self.prefetch.ahead(
            in_flight=self.in_flight,
            opened=len(self.rows) + sum(task.rows for task in tasks),
            # A flush writes the results that wait, but for those of events: one of their own does.
            unwritten=len(self.results.of_events) + sum(max(task.results - task.rows, 0) for task in tasks),
            events=len(self.rows.events),
            spacing=self.rows.spacing,
        )
