"""Answers that come after their lease: which of them are still the answer, and which are only evidence.

Whoever takes a row raises its fence, and from then on a late answer must not overwrite what the new owner does. But a
row that nobody has taken since, or that was taken only to look this very call up, still waits for this answer.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from worker.domain.model.states import InvitationState, JobState
from worker.store.base.database import fetch
from worker.store.tables import InvitationRow, Job


@dataclass(frozen=True)
class LateAnswer:
    """A late answer to one attempt, under the fence that it was made under. `done`: it did what it was to do."""

    row_id: Any
    attempt_id: uuid.UUID
    fence: int
    done: bool
    session_id: uuid.UUID | None = None  # the session that the job had when the call was made


def jobs_answered(connection: sa.Connection, answers: Sequence[LateAnswer]) -> dict[int, int]:
    """Of these jobs those that the answer is still for, with their priority of now; locked."""
    columns = (Job.id, Job.state, Job.fence, Job.unknown_attempt, Job.joins, Job.session_id, Job.priority)
    query = sa.select(*columns).where(Job.id.in_([answer.row_id for answer in answers])).order_by(Job.id)
    rows = {row.id: row for row in fetch(connection, query.with_for_update())} if answers else {}
    found = {}
    for answer in answers:
        row = rows.get(answer.row_id)
        waits_or_held = (JobState.WAITING, JobState.HELD, JobState.WORKING)
        if row is None or row.joins is not None or row.session_id != answer.session_id:
            continue
        if _still_for(answer, row, *waits_or_held):
            found[row.id] = row.priority
    return found


def invitations_answered(connection: sa.Connection, answers: Sequence[LateAnswer]) -> dict[uuid.UUID, int]:
    """Of these invitations those that the answer is still for, with their jobs of now; locked."""
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
        if row is not None and _still_for(answer, row, *states):
            found[row.id] = row.job_id
    return found


def _still_for(answer: LateAnswer, row: sa.Row[Any], waiting: Any, held: Any, working: Any) -> bool:
    if row.unknown_attempt == answer.attempt_id:
        return row.state in (waiting, held, working)  # working: somebody is looking this call up
    if row.fence == answer.fence:
        return row.state in (waiting, held)
    # Looked up too early, found not to be there, and about to be called again: what it was to do is done.
    return answer.done and row.state is waiting and row.unknown_attempt is None
