"""Sends a customer's present link once more, to an address that other links went to, or that is new."""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.model.channels import CHANNELS, Address
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.message_rows import waiting_message
from onboarding_worker.core.rules.contact import is_resend, next_kind

Kinds = Mapping[Any, Collection[Address]]


def send_again(connection: sa.Connection, sessions: Kinds, *, due_at: datetime, now: datetime) -> None:
    """Add a message with the present link to these addresses of the customers of these sessions.

    Its gates ask for the caps, suppressions and quiet hours as it leaves.
    """
    if not sessions:
        return
    found: dict[tuple[uuid.UUID, str], list[Any]] = {}
    for row in fetch(connection, _OF_SESSIONS, {"sessions": bulk.keys(sessions)}):
        if kind_of_address(row) in sessions[row.session_id]:
            found.setdefault((row.session_id, row.channel), []).append(row)
    new = []
    for (session_id, channel), messages in found.items():
        leave = (row.kind for row in messages if row.state is InvitationState.WAITING)
        if any(is_resend(kind) or not kind.startswith("reminder") for kind in leave):
            continue  # it is sent whatever becomes of the others
        job_id, priority = messages[0].lead_id, messages[0].lead_priority
        kind = next_kind(row.kind for row in messages)
        new.append(waiting_message(session_id, job_id, channel, kind, due_at=due_at, priority=priority, now=now))
    bulk.add(connection, InvitationRow, new)


def kind_of_address(message: Any) -> Address | None:
    facts = CHANNELS.get(message.channel)
    return facts.address if facts is not None else None


_OF_SESSIONS = (
    sa.select(
        InvitationRow.session_id,
        InvitationRow.channel,
        InvitationRow.kind,
        InvitationRow.state,
        Job.id.label("lead_id"),
        Job.priority.label("lead_priority"),
    )
    .join(Job, Job.session_id == InvitationRow.session_id)
    .where(
        bulk.among(InvitationRow.session_id, "sessions"),
        Job.leader_id.is_(None),
        Job.state == bulk.fixed(JobState.INVITED),
    )
    .order_by(InvitationRow.created_at, InvitationRow.id)
)
