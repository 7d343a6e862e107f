"""Holds rows that cannot be worked, each with the kind of the exception that it raises."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState
from worker.store.onboarding.job_from_messages import move_jobs
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import Attempt, InvitationRow, Job


def hold_jobs(
    connection: sa.Connection, kinds: Mapping[int, str], *, states: Collection[JobState], now: datetime
) -> None:
    """Hold those of these jobs that are in one of these states. `kinds` has the kind of exception of each."""
    for kind in sorted(set(kinds.values())):
        ids = sorted(job_id for job_id, raised in kinds.items() if raised == kind)
        hold = sa.update(Job).where(Job.id.in_(ids), Job.state.in_(states)).returning(Job.id)
        held = _values(kind, Job.unknown_attempt, _OPEN_CALL) | {"state": JobState.HELD, "changed_at": now}
        add_job_events(connection, list(connection.execute(hold.values(held)).scalars()), now=now)


def hold_messages(
    connection: sa.Connection, kinds: Mapping[UUID, str], *, states: Collection[InvitationState], now: datetime
) -> None:
    """As `hold_jobs`, for messages; their jobs' states follow from them."""
    for kind in sorted(set(kinds.values())):
        ids = [row_id for row_id, raised in kinds.items() if raised == kind]
        hold = sa.update(InvitationRow).where(InvitationRow.id.in_(ids), InvitationRow.state.in_(states))
        held = _values(kind, InvitationRow.unknown_attempt, _OPEN_HAND_OVER) | {"state": InvitationState.HELD}
        jobs = connection.execute(hold.values(held).returning(InvitationRow.job_id)).scalars()
        move_jobs(connection, set(jobs), now=now)


def _values(kind: str, unknown: Any, call: Any) -> dict[str, Any]:
    return {
        "due_at": None,
        "lease_until": None,
        "reason": Reason.CANNOT_WORK,
        "detail": f"working this row alone ended with {kind}",
        # The result of this call is not written, so it must be looked up before the row is repeated.
        "unknown_attempt": sa.func.coalesce(unknown, call),
    }


_OPEN = sa.select(Attempt.id).where(Attempt.closed_at.is_(None), Attempt.reconciles.is_(None)).limit(1)
_OPEN_CALL = _OPEN.where(
    Attempt.job_id == Job.id, Attempt.invitation_id.is_(None), Attempt.fence == Job.fence
).scalar_subquery()
_OPEN_HAND_OVER = _OPEN.where(
    Attempt.job_id == InvitationRow.job_id,
    Attempt.invitation_id == InvitationRow.id,
    Attempt.fence == InvitationRow.fence,
).scalar_subquery()
