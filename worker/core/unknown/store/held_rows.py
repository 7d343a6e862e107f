"""Holds rows that cannot be worked, each with the kind of the exception that it raises, and rows whose link may be for
another person. What becomes of them, a person decides (`lists.decisions.store.settlement`).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from worker.core.facts import JobsStopped, happened
from worker.core.messages.store.message_rows import set_job_states
from worker.core.model.reasons import Reason
from worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState

_NONE: Mapping[int, str] = MappingProxyType({})


def hold_jobs(
    connection: sa.Connection, kinds: Mapping[int, str], *, states: Collection[JobState], now: datetime
) -> None:
    """Hold those of these jobs that are in one of these states. `kinds` has the kind of exception of each."""
    for kind in sorted(set(kinds.values())):
        ids = sorted(job_id for job_id, raised in kinds.items() if raised == kind)
        hold = sa.update(Job).where(Job.id.in_(ids), Job.state.in_(states)).returning(Job.id)
        held = _values(kind, Job.unknown_attempt, _OPEN_CALL) | {"state": JobState.HELD, "changed_at": now}
        happened(connection, JobsStopped(connection.execute(hold.values(held)).scalars().all()), now=now)


def hold_messages(
    connection: sa.Connection, kinds: Mapping[UUID, str], *, states: Collection[InvitationState], now: datetime
) -> None:
    """As `hold_jobs`, for messages; their jobs' states follow from them."""
    for kind in sorted(set(kinds.values())):
        ids = [row_id for row_id, raised in kinds.items() if raised == kind]
        hold = sa.update(InvitationRow).where(InvitationRow.id.in_(ids), InvitationRow.state.in_(states))
        held = _values(kind, InvitationRow.unknown_attempt, _OPEN_HAND_OVER) | {"state": InvitationState.HELD}
        jobs = connection.execute(hold.values(held).returning(InvitationRow.job_id)).scalars()
        set_job_states(connection, set(jobs), now=now)


def hold_back(
    connection: sa.Connection, jobs: Sequence[Any], reason: Reason, details: Mapping[int, str] = _NONE, *, now: datetime
) -> None:
    """Hold these locked jobs because their links may be for other people: their sessions and waiting messages end.

    `details`: by job. A job that is held for a reason of its own keeps it: a person decides about that.
    """
    ids = [job.id for job in jobs]
    of_jobs = sa.update(InvitationRow).where(InvitationRow.job_id.in_(ids))
    waiting = of_jobs.where(InvitationRow.state == InvitationState.WAITING)
    connection.execute(waiting.values(state=InvitationState.SUPERSEDED, due_at=None, reason=reason))
    of_session = sa.update(SessionRow).where(SessionRow.id.in_([job.session_id for job in jobs]))
    live = of_session.where(SessionRow.state.in_(LIVE_SESSIONS))
    connection.execute(live.values(state=SessionState.SUPERSEDED, check_at=None))
    # One that was not bought stays so: as superseded it would count as paid for.
    connection.execute(of_session.where(SessionRow.state == SessionState.UNBOUGHT).values(check_at=None))
    free = [job.id for job in jobs if job.state is not JobState.HELD]
    held = {"state": JobState.HELD, "due_at": None, "lease_until": None, "reason": reason, "needs_status_check": False}
    for id_ in free:
        values = held | {"detail": details.get(id_, ""), "link_requested_at": None, "changed_at": now}
        connection.execute(sa.update(Job).where(Job.id == id_).values(values))
    happened(connection, JobsStopped(free), now=now)


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
