"""Ending what was cancelled: at once where nobody has it, and at its next taking where somebody had."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.models import Batch, InvitationRow, Job
from worker.states import InvitationState, JobState
from worker.store.database import fetch


def cancelled_batches(connection: sa.Connection, batch_ids: set[int]) -> set[int]:
    """Those of these batches that somebody cancelled."""
    query = sa.select(Batch.id).where(Batch.id.in_(batch_ids), Batch.cancelled_at.is_not(None))
    return set(connection.execute(query).scalars()) if batch_ids else set()


def cancel_jobs(connection: sa.Connection, ids: list[int], *, now: datetime) -> None:
    """End these jobs and what of their messages has not left; those who joined them are served on their own."""
    if not ids:
        return
    end = {"state": JobState.CANCELLED, "due_at": None, "lease_until": None, "reason": "cancelled", "changed_at": now}
    change_jobs(connection, ids, end)
    unsent = sa.update(InvitationRow).where(
        InvitationRow.job_id.in_(ids), InvitationRow.state == InvitationState.WAITING
    )
    over = {"state": InvitationState.SUPERSEDED, "due_at": None, "reason": "cancelled"}
    connection.execute(unsent.values(over))
    promote(connection, ids, now=now)


def promote(connection: sa.Connection, ended: list[int], *, now: datetime) -> None:
    """Let the first of those who joined an ended job lead, and the others join that one."""
    query = sa.select(Job.id, Job.joins).where(Job.joins.in_(ended)).order_by(Job.id)
    heirs: dict[int, int] = {}
    for row in fetch(connection, query.with_for_update()):
        if row.joins not in heirs:
            heirs[row.joins] = row.id
            change_jobs(connection, [row.id], {"joins": None, **waiting_again(now)})
        else:
            change_jobs(connection, [row.id], {"joins": heirs[row.joins]})


def waiting_again(now: datetime) -> dict[str, Any]:
    """The values of a job that begins anew."""
    return {
        "state": JobState.WAITING,
        "due_at": now,
        "attempts": 0,
        "reason": "",
        "detail": "",
        "changed_at": now,
    }


def change_jobs(connection: sa.Connection, ids: list[int], values: dict[str, Any]) -> None:
    if ids:
        connection.execute(sa.update(Job).where(Job.id.in_(ids)).values(values))
