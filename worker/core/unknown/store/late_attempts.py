"""Answers that come after the end of their lease: which answers still apply to the row, and which are only recorded.

A claim raises the row's fence. From then on a late answer must not overwrite the work of the new owner. But a row that
was not claimed again, or was claimed only to look up this call, still waits for this answer. That look-up is closed: it
has nothing more to say, and its worker may have died.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.store.unknown_outcomes import UNANSWERED


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
    columns = (Job.id, Job.state, Job.fence, Job.unknown_attempt, Job.joins, Job.session_id, Job.priority)
    query = sa.select(*columns).where(Job.id.in_([answer.row_id for answer in answers])).order_by(Job.id)
    rows = {row.id: row for row in fetch(connection, query.with_for_update())} if answers else {}
    found = {}
    for answer in answers:
        row = rows.get(answer.row_id)
        states = (JobState.WAITING, JobState.HELD, JobState.WORKING)
        if row is None or row.joins is not None or row.session_id != answer.session_id:
            continue
        if _still_applies(answer, row, *states):
            found[row.id] = row.priority
    _close_look_ups(connection, [answer for answer in answers if answer.row_id in found], now=now)
    return found


def invitations_answered(
    connection: sa.Connection, answers: Sequence[LateAnswer], *, now: datetime
) -> dict[uuid.UUID, int]:
    """The invitations that their late answer still applies to, with their current jobs. The rows are locked."""
    columns = (
        InvitationRow.id,
        InvitationRow.state,
        InvitationRow.fence,
        InvitationRow.unknown_attempt,
        InvitationRow.job_id,
    )
    query = sa.select(*columns).where(InvitationRow.id.in_([answer.row_id for answer in answers]))
    rows = {row.id: row for row in fetch(connection, query.order_by(InvitationRow.id).with_for_update())}
    found = {}
    for answer in answers:
        row = rows.get(answer.row_id)
        states = (InvitationState.WAITING, InvitationState.HELD, InvitationState.WORKING)
        if row is not None and _still_applies(answer, row, *states):
            found[row.id] = row.job_id
    _close_look_ups(connection, [answer for answer in answers if answer.row_id in found], now=now)
    return found


def _close_look_ups(connection: sa.Connection, answered: Sequence[LateAnswer], *, now: datetime) -> None:
    if answered:
        calls = [answer.attempt_id for answer in answered]
        look_ups = sa.update(Attempt).where(Attempt.reconciles.in_(calls), Attempt.closed_at.is_(None))
        connection.execute(look_ups.values(closed_at=now, outcome=UNANSWERED))


def _still_applies(answer: LateAnswer, row: sa.Row[Any], waiting: Any, held: Any, working: Any) -> bool:
    if row.unknown_attempt == answer.attempt_id:
        return row.state in (waiting, held, working)  # working: a dispatcher is looking up this call
    if row.fence == answer.fence:
        return row.state in (waiting, held)
    # The call was looked up too early, not found, and is about to be repeated. It succeeded, so no repeat is needed.
    return answer.done and row.state is waiting and row.unknown_attempt is None
