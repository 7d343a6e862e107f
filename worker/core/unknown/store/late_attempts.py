"""Answers that come after the end of their lease: which answers still apply to the row, and which are only recorded.

A claim raises the row's fence. From then on a late answer must not overwrite the work of the new owner. But a row that
was not claimed again, or was claimed only to look up this call, still waits for this answer. That look-up is closed: it
has nothing more to say, and its worker may have died.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

import sqlalchemy as sa

from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.store.unknown_outcomes import UNANSWERED
from worker.core.work.row_forms import CallResult, ResultT
from worker.core.work.store.attempt_log import Standing, is_leased, new_and_late


@dataclass(frozen=True, repr=False)
class Sorted(Generic[ResultT]):
    """Results that were not written before: those that count, and late answers that do not.

    `ours`: by row, the row as it is now, where it is still ours; all other results change only their attempts.
    `answered`: those of them that a late answer still applies to.
    """

    results: list[ResultT]
    late: list[ResultT]
    ours: Mapping[Any, Standing]
    answered: Collection[Any]


def sort_out(
    connection: sa.Connection,
    model: type[Job] | type[InvitationRow],
    columns: Sequence[Any],
    results: Sequence[ResultT],
    rows: Mapping[Any, Standing],
    outcomes: Mapping[uuid.UUID, str | None],
    *,
    now: datetime,
) -> Sorted[ResultT]:
    """Sort these results by what they may change.

    `rows`: by id; `outcomes`: of the attempts; all of them are locked. The rows of late answers are locked here, and
    read with these columns.
    """
    new, late = new_and_late(results, outcomes)
    ours = {
        item.opened.row.id: rows[item.opened.row.id]
        for item in new
        if is_leased(rows[item.opened.row.id], item.opened.row.fence)
    }
    answered = _answered(connection, model, columns, late, now=now) if late else {}
    new += [item for item in late if item.opened.row.id in answered]
    late = [item for item in late if item.opened.row.id not in answered]
    return Sorted(new, late, ours | answered, answered.keys())


def _answered(
    connection: sa.Connection,
    model: type[Job] | type[InvitationRow],
    columns: Sequence[Any],
    answers: Sequence[CallResult[Any]],
    *,
    now: datetime,
) -> dict[Any, sa.Row[Any]]:
    """By id, the rows that their late answer still applies to. Its look-ups are closed."""
    query = sa.select(model.id, model.state, model.fence, model.unknown_attempt, *columns)
    query = query.where(model.id.in_([answer.opened.row.id for answer in answers])).order_by(model.id)
    rows = {row.id: row for row in fetch(connection, query.with_for_update())}
    found = {
        answer.opened.row.id: row
        for answer in answers
        if (row := rows.get(answer.opened.row.id)) is not None and _still_applies(answer, row, model)
    }
    if found:
        calls = [answer.opened.attempt_id for answer in answers if answer.opened.row.id in found]
        look_ups = sa.update(Attempt).where(Attempt.reconciles.in_(calls), Attempt.closed_at.is_(None))
        connection.execute(look_ups.values(closed_at=now, outcome=UNANSWERED))
    return found


def _still_applies(answer: CallResult[Any], row: sa.Row[Any], model: type[Job] | type[InvitationRow]) -> bool:
    if model is Job and (row.joins is not None or row.session_id != answer.opened.row.session_id):
        return False  # the job has another session than when the call was made
    states = JobState if model is Job else InvitationState
    if row.unknown_attempt == answer.opened.attempt_id:  # working: a dispatcher is looking up this call
        return row.state in (states.WAITING, states.HELD, states.WORKING)
    if row.fence == answer.opened.row.fence:
        return row.state in (states.WAITING, states.HELD)
    # The call was looked up too early, not found, and is about to be repeated. It succeeded, so no repeat is needed.
    return answer.succeeded and row.state is states.WAITING and row.unknown_attempt is None
