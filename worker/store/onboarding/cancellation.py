"""Ending what was cancelled: at once where nobody has it, and at its next taking where somebody had."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.model.reasons import Reason
from worker.domain.model.states import OPEN_JOBS, InvitationState, JobState
from worker.store.base.database import fetch
from worker.store.onboarding.sessions import FIRST, HELD_FIRST
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import InvitationRow, Job


def cancel_jobs(connection: sa.Connection, ids: list[int], *, now: datetime) -> None:
    """End these jobs, but for those that have ended already, and what of their messages has not left.

    Those who joined them are served on their own; one that had joined another leaves it.
    """
    query = sa.select(Job.id).where(Job.id.in_(ids), Job.state.in_(OPEN_JOBS)).order_by(Job.id)
    ids = [row.id for row in fetch(connection, query.with_for_update(key_share=True))] if ids else []
    if not ids:
        return
    unknown = with_unknown_calls(connection, ids)
    end: dict[str, Any] = {"state": JobState.CANCELLED, "due_at": None, "lease_until": None, "joins": None}
    change_jobs(connection, ids, end | {"reason": Reason.CANCELLED, "changed_at": now})
    unsent = sa.update(InvitationRow).where(
        InvitationRow.job_id.in_(ids), InvitationRow.state == InvitationState.WAITING
    )
    # A reminder keeps its time: another list's job may take the session over, and it with it.
    due_at = sa.case((InvitationRow.kind == FIRST, None), else_=InvitationRow.due_at)
    over = {"state": InvitationState.SUPERSEDED, "due_at": due_at, "reason": Reason.CANCELLED}
    connection.execute(unsent.values(over))
    promote(connection, ids, unknown, now=now)


def with_unknown_calls(connection: sa.Connection, ids: list[int]) -> set[int]:
    """Those of these jobs whose call for a session may have been carried out: held for it, or yet to be looked up."""
    message = sa.exists().where(HELD_FIRST)
    # A row that is held for the call of another list's row (`_HELD`, admission) has no attempt of its own to name.
    held = sa.and_(Job.state == JobState.HELD, Job.reason == Reason.UNKNOWN, ~message)
    unknown = sa.or_(Job.unknown_attempt.is_not(None), held)
    return set(connection.execute(sa.select(Job.id).where(Job.id.in_(ids), unknown)).scalars())


def promote(connection: sa.Connection, ended: list[int], unknown: set[int], *, now: datetime) -> None:
    """Let the first of those who joined an ended job lead, and the others join that one.

    The heir of a job whose call is in `unknown` is held: making it again is no less in doubt for another list.
    """
    query = sa.select(Job.id, Job.joins).where(Job.joins.in_(ended), Job.state.in_(OPEN_JOBS)).order_by(Job.id)
    heirs: dict[int, int] = {}
    others = []
    for row in fetch(connection, query.with_for_update(key_share=True)):
        if heirs.setdefault(row.joins, row.id) != row.id:
            others.append({"job_id": row.id, "heir": heirs[row.joins]})
    leads = waiting_again(now) | {"joins": None}
    change_jobs(connection, [heir for before, heir in heirs.items() if before not in unknown], leads)
    held = [heir for before, heir in heirs.items() if before in unknown]
    change_jobs(connection, held, leads | _HELD)
    add_job_events(connection, held, now=now)
    if others:
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        connection.execute(by_id.values(joins=sa.bindparam("heir")), others)


_HELD: dict[str, Any] = {
    "state": JobState.HELD,
    "due_at": None,
    "reason": Reason.UNKNOWN,
    "detail": "the call that was made for the customer's row of another list may have been carried out",
}


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
