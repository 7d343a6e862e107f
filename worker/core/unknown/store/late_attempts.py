"""Answers that come after the end of their lease: which answers still apply to the row, and which are only recorded.

A claim raises the row's fence. From then on a late answer must not overwrite the work of the new owner. But a row that
was not claimed again, or was claimed only to look up this call, still waits for this answer. That look-up is closed: it
has nothing more to say, and its worker may have died.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.model.endings import Kind
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.store.unknown_outcomes import UNANSWERED
from worker.core.work.store.attempt_log import Standing, is_leased, new_and_late
from worker.core.work.store.issue_results import IssueResult


@dataclass(frozen=True)
class LateAnswer:
    """A late answer to one attempt, with the fence of its claim. `done`: the call succeeded."""

    row_id: Any
    attempt_id: uuid.UUID
    fence: int
    done: bool
    session_id: uuid.UUID | None = None  # the session that the job had when the call was made


def jobs_answered(connection: sa.Connection, answers: Sequence[LateAnswer], *, now: datetime) -> dict[int, int]:
    """The jobs that their late answer still applies to, with their current priorities. The rows are locked."""
    columns = (Job.joins, Job.session_id, Job.priority)
    return {id_: row.priority for id_, row in _answered(connection, Job, JobState, answers, columns, now=now).items()}


def invitations_answered(
    connection: sa.Connection, answers: Sequence[LateAnswer], *, now: datetime
) -> dict[uuid.UUID, int]:
    """The invitations that their late answer still applies to, with their current jobs. The rows are locked."""
    rows = _answered(connection, InvitationRow, InvitationState, answers, (InvitationRow.job_id,), now=now)
    return {id_: row.job_id for id_, row in rows.items()}


def _answered(
    connection: sa.Connection,
    model: type[Job] | type[InvitationRow],
    states: type[JobState] | type[InvitationState],
    answers: Sequence[LateAnswer],
    columns: Sequence[Any],
    *,
    now: datetime,
) -> dict[Any, sa.Row[Any]]:
    query = sa.select(model.id, model.state, model.fence, model.unknown_attempt, *columns)
    query = query.where(model.id.in_([answer.row_id for answer in answers])).order_by(model.id)
    rows = {row.id: row for row in fetch(connection, query.with_for_update())}
    found = {
        answer.row_id: row
        for answer in answers
        if (row := rows.get(answer.row_id)) is not None and _still_applies(answer, row, states)
    }
    if found:
        calls = [answer.attempt_id for answer in answers if answer.row_id in found]
        look_ups = sa.update(Attempt).where(Attempt.reconciles.in_(calls), Attempt.closed_at.is_(None))
        connection.execute(look_ups.values(closed_at=now, outcome=UNANSWERED))
    return found


def _still_applies(answer: LateAnswer, row: sa.Row[Any], states: type[JobState] | type[InvitationState]) -> bool:
    if states is JobState and (row.joins is not None or row.session_id != answer.session_id):
        return False
    if row.unknown_attempt == answer.attempt_id:  # working: a dispatcher is looking up this call
        return row.state in (states.WAITING, states.HELD, states.WORKING)
    if row.fence == answer.fence:
        return row.state in (states.WAITING, states.HELD)
    # The call was looked up too early, not found, and is about to be repeated. It succeeded, so no repeat is needed.
    return answer.done and row.state is states.WAITING and row.unknown_attempt is None


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
