"""Which results may still move their jobs: those under our lease, and late answers that nothing has overtaken."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.model.endings import Kind
from worker.core.unknown.store.late_attempts import LateAnswer, jobs_answered
from worker.core.work.store.attempt_log import new_and_late
from worker.core.work.store.issue_results import IssueResult
from worker.core.work.store.standing import Standing, is_leased


@dataclass(frozen=True, repr=False)
class Sorted:
    """Results that were not written before: those that count, and late answers that do not.

    `priorities`: by attempt, of the jobs that are still ours. All other results change only their attempts.
    """

    results: Sequence[IssueResult]
    late: Sequence[IssueResult]
    priorities: Mapping[uuid.UUID, int]


def sort_out(
    connection: sa.Connection,
    results: Sequence[IssueResult],
    rows: Mapping[int, Standing],
    outcomes: Mapping[uuid.UUID, str | None],
    *,
    now: datetime,
) -> Sorted:
    """Sort these results by what they may change.

    `rows`: by job; `outcomes`: of the attempts; all of them are locked. The jobs of late answers are locked here.
    """
    new, late = new_and_late(results, outcomes, _is_conclusive)
    priorities = {
        item.opened.attempt_id: rows[item.opened.job.id].priority
        for item in new
        if is_leased(rows[item.opened.job.id], item.opened.job.fence)
    }
    if late:
        answered = jobs_answered(connection, [_late_answer(item) for item in late], now=now)
        priorities |= {
            item.opened.attempt_id: answered[item.opened.job.id] for item in late if item.opened.job.id in answered
        }
        new += [item for item in late if item.opened.job.id in answered]
        late = [item for item in late if item.opened.job.id not in answered]
    return Sorted(new, late, priorities)


def _is_conclusive(result: IssueResult) -> bool:
    """True if the result settles an unknown outcome. A call that was not made settles it too."""
    return (
        result.ending is None
        or result.session is not None
        or (result.problem is not None and result.problem.kind is not Kind.UNKNOWN)
    )


def _late_answer(result: IssueResult) -> LateAnswer:
    job = result.opened.job
    return LateAnswer(job.id, result.opened.attempt_id, job.fence, result.session is not None, job.session_id)
