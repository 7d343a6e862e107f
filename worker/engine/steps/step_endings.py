"""What both kinds of work share: the ending of a step that met a problem, and the log of a chunk."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.model.endings import Ending, Kind, Problem, RetryPolicy, ending_for, resume_at
from worker.domain.model.meters import Meters
from worker.domain.model.metrics import Metric
from worker.store.issuing.open_attempts import OpenedJob
from worker.store.messages.handovers import OpenedInvitation

# Time to write a result. From the last check of the lease to the written result: the call's time-out and this.
FLUSH_MARGIN = timedelta(seconds=5)
# (channel, whether it is for an event); must return at once
WakeInvite = Callable[[str, bool], None]
log = logging.getLogger(__name__)


def ending_of(
    problem: Problem,
    attempts: int,
    opened: OpenedJob | OpenedInvitation,
    retry: RetryPolicy,
    now: datetime,
    jitter: float,
) -> Ending:
    return ending_for(
        problem,
        attempt=attempts + 1,
        repeatable=opened.repeatable,
        policy=retry,
        resume_at=resume_at(problem, retry, now),
        now=now,
        jitter=jitter,
        reconcile_at=opened.reconcile_at,
    )


def nothing_kept(reference: str, kind: str) -> Problem:
    """The problem of a result that cannot be written. `reference` is the other side's id; `kind` the exception's."""
    named = reference.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")[:100]
    opened = f" (the other side calls it {named})" if named else ""
    return Problem(Kind.UNKNOWN, f"the call was answered{opened}, and nothing of the answer could be kept: {kind}")


@dataclass(frozen=True)
class Step:
    """One step of a chunk: its job, how it ended, and how long it took until it was written."""

    job_id: int
    batch_id: int
    ending: Ending | None
    problem: Problem | None
    took: timedelta

    @property
    def outcome(self) -> str:
        return "not made" if self.ending is None else type(self.ending).__name__.lower()


def outcome_of(ending: Ending | None, problem: Problem | None) -> str:
    """The outcome of a call in one word, for metrics and traces."""
    return problem.kind.value if problem else "not_made" if ending is None else type(ending).__name__.lower()


def count(meters: Meters, metric: Metric, name: str, results: Iterable[tuple[Ending | None, Problem | None]]) -> None:
    """Count the calls of a chunk by their outcome. A call that was not made is none."""
    made = [(ending, problem) for ending, problem in results if ending is not None]
    outcomes = Counter(outcome_of(ending, problem) for ending, problem in made)
    for outcome, number in outcomes.items():
        meters.add(metric, name, outcome, amount=number)


def log_chunk(work: str, steps: Sequence[Step]) -> None:
    """Log a line for the chunk, and one for each step: job, ending, kind, seconds until it was written."""
    counts = Counter(step.outcome for step in steps)
    log.info("%s: %s", work, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    for step in steps:
        problem = step.problem
        level = logging.DEBUG if problem is None else logging.INFO
        if log.isEnabledFor(level):
            why = f" ({problem.kind.value}{f' {problem.code}' if problem.code else ''})" if problem else ""
            ids = {"batch": step.batch_id, "job": step.job_id}
            seconds = step.took.total_seconds()
            log.log(level, "%s: job %d: %s%s, %.3f s", work, step.job_id, step.outcome, why, seconds, extra=ids)
