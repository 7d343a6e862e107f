"""When the next row is due, for a worker whose time is stepped."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.tables import BatchPlan, InvitationRow, Job, SessionRow, Webhook
from worker.core.database.tables.types import UtcDateTime
from worker.core.model.states import InvitationState, JobState


@dataclass(frozen=True)
class NextDue:
    """`overdue`: when the oldest row that is due now was due; None: none is. `next_at`: when the next row is due."""

    overdue: datetime | None
    next_at: datetime | None


def next_due(database: Database, *, now: datetime) -> NextDue:
    with database.read() as connection:
        first, later = connection.execute(_NEXT, {"now": now}).one()
    return NextDue(first if first is not None and first <= now else None, later)


_DUE = (
    (Job.due_at, (Job.state == JobState.WAITING) & Job.leader_id.is_(None)),
    (Job.lease_until, Job.lease_until.is_not(None)),
    (InvitationRow.due_at, InvitationRow.state == InvitationState.WAITING),
    (InvitationRow.lease_until, InvitationRow.state == InvitationState.WORKING),
    (SessionRow.check_at, SessionRow.check_at.is_not(None)),
    (Webhook.due_at, Webhook.due_at.is_not(None)),
    (BatchPlan.check_at, BatchPlan.check_at.is_not(None)),
)
_NOW = sa.bindparam("now", type_=UtcDateTime())
_EACH = sa.union_all(
    *(
        sa.select(
            sa.select(sa.func.min(column)).where(condition).scalar_subquery().label("first"),
            sa.select(sa.func.min(column)).where(condition, column > _NOW).scalar_subquery().label("later"),
        )
        for column, condition in _DUE
    )
).subquery()
_NEXT = sa.select(
    sa.type_coerce(sa.func.min(_EACH.c.first), UtcDateTime()), sa.type_coerce(sa.func.min(_EACH.c.later), UtcDateTime())
)
