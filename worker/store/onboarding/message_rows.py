"""The row of a new message: waiting, without a lease."""

import uuid
from datetime import datetime
from typing import Any

from worker.domain.model.states import InvitationState
from worker.foundation.ids import new_id


def waiting_message(
    *,
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
        "id": new_id(now),
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
