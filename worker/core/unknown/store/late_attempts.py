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

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.limits.store.flush import CallResult, RowT
from worker.core.model.endings import Kind
from worker.core.model.states import UNANSWERED, InvitationState, JobState


@dataclass(frozen=True, repr=False)
class SortedOut(Generic[RowT]):
    """Results that were not written before: those that count, and late answers that do not.

    `rows`: by id, as they were when they were locked; `ours`: as they are now, where they are still ours: all other
    results change only their attempts. `answered`: those of them that a late answer still applies to. `outcomes`: of
    all attempts, as they were; None: the attempt was open.
    """

    results: list[CallResult[RowT]]
    late: list[CallResult[RowT]]
    rows: Mapping[Any, sa.Row[Any]]
    ours: Mapping[Any, sa.Row[Any]]
    answered: Collection[Any]
    outcomes: Mapping[uuid.UUID, str | None]

    def counted(self, result: CallResult[RowT]) -> bool:
        """Whether the attempt was counted already, when its outcome became unknown."""
        return self.outcomes[result.row.attempt_id] is not None


class Standing:
    """How the rows of results stand when the results are written: `columns`, and of late answers `late`.

    The rows are locked in the order of their ids, as everywhere. `key_share`: see `message_rows.move_jobs`.
    """

    def __init__(self, model: type[Job] | type[InvitationRow], *columns: Any, late: Sequence[Any]) -> None:
        self.model, self.late = model, late
        read = sa.select(model.id, model.state, model.fence, *columns).where(bulk.among(model.id, "ids"))
        self.query = read.order_by(model.id).with_for_update(key_share=True)


_OUTCOMES = (
    sa.select(Attempt.id, Attempt.outcome)
    .where(bulk.among(Attempt.id, "ids"))
    .order_by(Attempt.id)
    .with_for_update(key_share=True)
)


def sort_out(
    connection: sa.Connection, standing: Standing, results: Sequence[CallResult[RowT]], *, now: datetime
) -> SortedOut[RowT]:
    """Sort these results by what they may change. Their rows are locked here, and then their attempts.

    A result of an open attempt counts. So does a conclusive one of an attempt that was closed with an unknown outcome,
    if it still applies to its row. All others were written before, and only the acknowledgement was lost: they must not
    count twice. A purge may have removed an attempt.
    """
    ids = bulk.keys({item.row.id for item in results})
    rows = {row.id: row for row in fetch(connection, standing.query, {"ids": ids})}
    attempts = bulk.keys(item.row.attempt_id for item in results)
    outcomes = {row.id: row.outcome for row in fetch(connection, _OUTCOMES, {"ids": attempts})}
    new, late, ours = [], [], {}
    for item in results:
        id_, outcome = item.row.id, outcomes.get(item.row.attempt_id, "purged")
        if outcome is None:
            new.append(item)
            if rows[id_].fence == item.row.fence and rows[id_].state in (JobState.WORKING, InvitationState.WORKING):
                ours[id_] = rows[id_]  # it was not claimed again
        elif outcome == Kind.UNKNOWN and item.is_conclusive:
            late.append(item)
    answered = _answered(connection, standing.model, standing.late, late, now=now) if late else {}
    new += [item for item in late if item.row.id in answered]
    late = [item for item in late if item.row.id not in answered]
    return SortedOut(new, late, rows, ours | answered, answered.keys(), outcomes)


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
    query = query.where(model.id.in_([answer.row.id for answer in answers])).order_by(model.id)
    rows = {row.id: row for row in fetch(connection, query.with_for_update())}
    found = {
        answer.row.id: row
        for answer in answers
        if (row := rows.get(answer.row.id)) is not None and _still_applies(answer, row, model)
    }
    if found:
        calls = [answer.row.attempt_id for answer in answers if answer.row.id in found]
        look_ups = sa.update(Attempt).where(Attempt.reconciles.in_(calls), Attempt.closed_at.is_(None))
        connection.execute(look_ups.values(closed_at=now, outcome=UNANSWERED))
    return found


def _still_applies(answer: CallResult[Any], row: sa.Row[Any], model: type[Job] | type[InvitationRow]) -> bool:
    if model is Job and (row.leader_id is not None or row.session_id != answer.row.session_id):
        return False  # the job has another session than when the call was made
    states = JobState if model is Job else InvitationState
    if row.unknown_attempt == answer.row.attempt_id:  # working: a dispatcher is looking up this call
        return row.state in (states.WAITING, states.HELD, states.WORKING)
    if row.fence == answer.row.fence:
        return row.state in (states.WAITING, states.HELD)
    # The call was looked up too early, not found, and is about to be repeated. It succeeded, so no repeat is needed.
    return answer.succeeded and row.state is states.WAITING and row.unknown_attempt is None
