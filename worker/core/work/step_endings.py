"""What both kinds of work, `issue` and `invite`, share: the ending of a step with a problem, and the log of a chunk."""

import logging
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from worker.core.foundation.clock import Clock
from worker.core.limits.budgets import FLUSH_MARGIN
from worker.core.limits.call_outcomes import SecondLook
from worker.core.limits.store.claims import ClaimPolicy, Room
from worker.core.limits.store.flush import CallResult, Claimed, Flushed, Rows, RowT
from worker.core.limits.throughput import Stretch
from worker.core.model.endings import Ending, Hold, Kind, Problem, RetryPolicy, ending_for, row_due_after_pause
from worker.core.model.metrics import Meters, Metric
from worker.core.model.reasons import Reason
from worker.core.unknown.reconciliation import ending_of_reconciliation

NOT_MADE = "not_made"  # the outcome of a call that was not made
# (channel, whether it is for an event); must return at once
WakeInvite = Callable[[str, bool], None]
log = logging.getLogger(__name__)


def ending_of(problem: Problem, opened: Claimed, retry: RetryPolicy, now: datetime, jitter: float) -> Ending:
    return ending_for(
        problem,
        attempt=opened.attempts + 1,
        repeatable=opened.repeatable,
        policy=retry,
        resume_at=row_due_after_pause(problem, retry, now),
        now=now,
        jitter=jitter,
        reconcile_at=opened.reconcile_at,
    )


def nothing_kept(reference: str, kind: str) -> Problem:
    """The problem of a result that cannot be written. `reference` is the other side's id; `kind` the exception's."""
    named = reference.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")[:100]
    opened = f" (the other side calls it {named})" if named else ""
    return Problem(Kind.UNKNOWN, f"the call was answered{opened}, and nothing of the answer could be kept: {kind}")


def outcome_of(ending: Ending | None, problem: Problem | None) -> str:
    """The outcome of a call in one word, for metrics and traces."""
    return problem.kind.value if problem else NOT_MADE if ending is None else type(ending).__name__.lower()


def log_chunk(work: str, results: Sequence[CallResult[Any]], *, now: datetime) -> None:
    """Log a line for the chunk, and one for each step: job, ending, kind, seconds until it was written."""
    counts = Counter(type(result.ending) for result in results)
    named = sorted((_name_of(ending), number) for ending, number in counts.items())
    log.info("%s: %s", work, ", ".join(f"{number} {name}" for name, number in named))
    # A step without a problem is a line at DEBUG, so of most chunks none is shown.
    for result in results if log.isEnabledFor(logging.DEBUG) else [result for result in results if result.problem]:
        problem, job_id = result.problem, result.row.job_id
        level = logging.DEBUG if problem is None else logging.INFO
        why = f" ({problem.kind.value}{f' {problem.code}' if problem.code else ''})" if problem else ""
        step, seconds = _name_of(type(result.ending)), (now - result.began_at).total_seconds()
        extra = {"batch": result.row.batch_id, "job": job_id}
        log.log(level, "%s: job %d: %s%s, %.3f s", work, job_id, step, why, seconds, extra=extra)


def _name_of(ending: type[Ending] | type[None]) -> str:
    return "not made" if ending is type(None) else ending.__name__.lower()


PolicyT = TypeVar("PolicyT", bound=ClaimPolicy)


@dataclass(kw_only=True)
class SharedWork(ABC, Generic[PolicyT, RowT]):
    """A part of `dispatch.state.Work`: what it does with opened rows and their results, whichever their kind."""

    step: ClassVar[str]
    doing: ClassVar[str]  # the words for what a call that raised was doing
    metric: ClassVar[Metric]  # that counts them
    has_next_step: ClassVar[bool] = False

    policy: PolicyT
    rows: Rows[PolicyT, RowT]
    timeout: timedelta
    second_look: SecondLook
    clock: Clock
    jitter: Callable[[], float] = random.random
    meters: Meters = field(default_factory=Meters)

    name: str = field(init=False)
    permits: int = field(init=False)
    longest_call: timedelta = field(init=False)
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
        flushed = self.rows.flush(self.policy, results, room, clock=self.clock, stretch=stretch, unused=unused)
        if results:
            # A call that was not made is none.
            outcomes = Counter(outcome_of(each.ending, each.problem) for each in results if each.ending is not None)
            for outcome, number in outcomes.items():
                self.meters.add(self.metric, self.policy.claims_for, outcome, amount=number)
            log_chunk(self.name, results, now=self.clock())
        return flushed

    def release(self, opened: Sequence[RowT]) -> None:
        self.rows.release(self.policy, opened, now=self.clock())

    def release_permits(self) -> None:
        self.rows.release_permits(self.policy)

    def skipped(self, opened: RowT) -> CallResult[RowT]:
        return CallResult(opened, self.clock(), None, None)

    def after_crash(self, opened: RowT, error: Exception) -> CallResult[RowT]:
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} {self.doing}")
        now, call, retry = self.clock(), opened.unknown_call, self.policy.rule.retry
        if call is None:
            return CallResult(opened, now, self._ending(opened, problem), problem)
        ending = ending_of_reconciliation(problem, call, opened.attempts, retry, now, self.jitter())
        return CallResult(opened, now, ending, problem)

    def unsaved(self, result: CallResult[RowT], kind: str) -> CallResult[RowT]:
        reference = result.session.lasting_reference if result.session is not None else result.reference
        problem = nothing_kept(reference, kind)
        return CallResult(result.row, result.began_at, Hold(Reason.CANNOT_KEEP, problem.detail), problem)

    @abstractmethod
    def _ending(self, opened: RowT, problem: Problem) -> Ending: ...
