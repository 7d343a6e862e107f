"""What both kinds of work share: the ending of a step that met a problem, and the log of a chunk."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from worker.domain.model.endings import Ending, Kind, Problem, RetryPolicy, ending_for, resume_at
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


Step = tuple[int, Ending | None, Problem | None, timedelta]


def log_chunk(work: str, steps: Sequence[Step]) -> None:
    """Log a line for the chunk, and one for each step: job, ending, kind, seconds until it was written."""
    counts = Counter("not made" if ending is None else type(ending).__name__.lower() for _, ending, _, _ in steps)
    log.info("%s: %s", work, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    for job_id, ending, problem, took in steps:
        level = logging.DEBUG if problem is None else logging.INFO
        if log.isEnabledFor(level):
            name = "not made" if ending is None else type(ending).__name__.lower()
            why = f" ({problem.kind.value}{f' {problem.code}' if problem.code else ''})" if problem else ""
            log.log(level, "%s: job %d: %s%s, %.3f s", work, job_id, name, why, took.total_seconds())
