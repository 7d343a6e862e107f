"""The rows of messages: a new one waits, without a lease; one that another job gets takes its attempts along."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow
from worker.core.foundation.ids import new_id
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState


def waiting_message(
    *,
    id_: uuid.UUID | None = None,
    session_id: uuid.UUID,
    job_id: int,
    batch_id: int,
    channel: str,
    kind: str,
    due_at: datetime,
    priority: int,
    now: datetime,
) -> dict[str, Any]:
    """The values of a new invitation, due at `due_at` (aware UTC). The id is always the left part of its Message-ID."""
    return {
        "id": id_ or new_id(now),
        "session_id": session_id,
        "job_id": job_id,
        "batch_id": batch_id,
        "channel": channel,
        "kind": kind,
        "state": InvitationState.WAITING,
        "due_at": due_at,
        "priority": priority,
        "lease_until": None,
        "lease_owner": "",
        "fence": 0,
        "attempts": 0,
        "waits": 0,
        "unknown_handovers": 0,
        "reason": "",
        "detail": "",
        "reference": "",
        "created_at": now,
        "sent_at": None,
    }


def why_later(due_at: datetime, *, wanted_at: datetime) -> str:
    """The reason of a new message that is due later than it is wanted: only quiet hours put one off."""
    return Reason.QUIET_HOURS if due_at > wanted_at else ""


def move_messages(
    connection: sa.Connection, which: sa.ColumnElement[bool], job_id: int, *, batch_id: int | None, **values: Any
) -> None:
    """Let another job own these messages, with `values` for their other columns. `batch_id` None: they stay, and are
    counted, in their own batch.

    Their attempts go with them. All that asks for the attempts of a message asks by its job: an attempt that stayed
    behind would not be found when its worker dies, and the message would be handed over again.
    """
    locked = sa.select(InvitationRow.id, InvitationRow.job_id).where(which).order_by(InvitationRow.id).with_for_update()
    rows = fetch(connection, locked)
    if not rows:
        return
    ids = [row.id for row in rows]
    owner = {"job_id": job_id} | ({"batch_id": batch_id} if batch_id is not None else {})
    connection.execute(sa.update(InvitationRow).where(InvitationRow.id.in_(ids)).values(owner | values))
    theirs = (Attempt.job_id.in_({row.job_id for row in rows}), Attempt.invitation_id.in_(ids))
    connection.execute(sa.update(Attempt).where(*theirs).values(owner))
