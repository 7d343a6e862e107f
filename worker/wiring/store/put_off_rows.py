"""Makes rows due again that were put off because of their account or sender, once that may work again."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import Database
from worker.core.database.tables import InvitationRow, Job
from worker.core.model.reasons import Reason
from worker.core.model.states import PRIORITIES, InvitationState, JobState

CHUNK = 2000  # jobs in one transaction
_WAITS = (
    sa.select(Job.id)
    .where(
        Job.id > sa.bindparam("after"),
        Job.priority.in_(PRIORITIES),
        Job.state == bulk.fixed(JobState.WAITING),
        Job.leader_id.is_(None),
        Job.due_at > sa.bindparam("now"),
        Job.reason == Reason.WAITS_FOR_SENDER,
    )
    .order_by(Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)


def make_waiting_jobs_due(database: Database, *, now: datetime) -> None:
    """Make the jobs that wait for a sender due now, because their sender may have room again.

    Jobs that another transaction has locked are skipped.
    """
    after: int | None = 0
    while after is not None:
        # In chunks: there may be a million jobs, and dispatchers must be able to claim meanwhile.
        with database.write() as connection:
            after = _make_due(connection, after, now=now)


def _make_due(connection: sa.Connection, after: int, *, now: datetime) -> int | None:
    """Those of the next chunk, behind the id `after`. Returns the chunk's last id; None: there are no more jobs."""
    ids = list(connection.execute(_WAITS, {"after": after, "now": now, "most": CHUNK}).scalars())
    if not ids:
        return None
    connection.execute(sa.update(Job).where(bulk.among(Job.id, "ids")).values(due_at=now), {"ids": bulk.keys(ids)})
    return ids[-1]


def make_snoozed_due(database: Database, names: Collection[str], *, now: datetime) -> None:
    """Make the rows of these accounts and channels due now whose own call was answered with the account's pause."""
    reasons = (Reason.RATE_LIMITED, Reason.UNREACHABLE)
    with database.write() as connection:
        for model, of, waiting in (
            (Job, Job.account, JobState.WAITING),
            (InvitationRow, InvitationRow.channel, InvitationState.WAITING),
        ):
            rows = sa.update(model).where(of.in_(names), model.state == waiting, model.reason.in_(reasons))
            connection.execute(rows.where(model.due_at > now, model.unknown_attempt.is_(None)).values(due_at=now))
