"""What has happened to each customer of a batch, with its time, and when the next row is due. No contact detail is
read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.tables import BatchPlan, InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.database.tables.types import UtcDateTime
from onboarding_worker.core.model.states import ENDED_JOBS, UNSENT_JOBS, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import COUNTED


@dataclass(frozen=True)
class Happenings:
    """Rows, each with `at`, `customer_id` and the session's `account`. `opened`: sessions; `is_new`: the customer had
    one before. `left`: messages; `template` and `brand` are the row's. `ended`: jobs that have ended, or are held:
    nothing more happens to them by itself. `unsent`: how many customers wait for their first message."""

    opened: Sequence[Any]
    left: Sequence[Any]
    ended: Sequence[Any]
    unsent: int


def happenings(database: Database, batch_id: int) -> Happenings:
    given = {"batch": batch_id}
    with database.read() as connection:
        opened, left, ended = (fetch(connection, query, given) for query in (_OPENED, _LEFT, _ENDED))
        return Happenings(opened, left, ended, connection.execute(_UNSENT, given).scalar_one())


_OF_BATCH = of_batch(sa.bindparam("batch", type_=Job.id.type))
_WHO = (SessionRow.customer_id, SessionRow.account)
_OPENED = (
    sa.select(SessionRow.issued_at.label("at"), *_WHO, SessionRow.replaces.is_not(None).label("is_new"))
    .join(Job, Job.id == SessionRow.job_id)
    .where(_OF_BATCH, SessionRow.state != SessionState.DEFERRED)
)
_LEFT = (
    sa.select(
        *(sa.type_coerce(InvitationRow.sent_at, UtcDateTime()).label("at"), *_WHO, Job.template, Job.brand),
        *(InvitationRow.channel, InvitationRow.kind, InvitationRow.new_link),
    )
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .where(_OF_BATCH, InvitationRow.sent_at.is_not(None), InvitationRow.state.in_(COUNTED))
)
_ENDED = sa.select(Job.changed_at.label("at"), Job.customer_id, Job.account, Job.state, Job.result, Job.reason).where(
    _OF_BATCH, Job.state.in_([*ENDED_JOBS, JobState.HELD])
)
_UNSENT = (
    sa.select(sa.func.count())
    .select_from(Job)
    .where(_OF_BATCH, Job.state.in_(UNSENT_JOBS), Job.reissues == 0)
    .where(Job.channel != "none")
)


def next_due(database: Database, *, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When the oldest row that is due now was due, None: none is; and when the next row is due."""
    first, later = database.first(_NEXT, {"now": now})
    return first if first is not None and first <= now else None, later


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
