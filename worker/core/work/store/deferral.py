"""Puts off jobs, and makes jobs and messages due, many at a time and without a claim."""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database import bulk
from worker.core.database.priorities import BATCH, PRIORITIES
from worker.core.database.tables import InvitationRow, Job
from worker.core.messages.send_decision import Later
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState

CHUNK = 2000  # jobs put off in one statement
# Rows that another transaction has locked are skipped, without waiting.
_DUE = (
    sa.select(Job.id)
    .where(
        Job.account == sa.bindparam("account_"),
        Job.priority == BATCH,
        Job.state == bulk.fixed(JobState.WAITING),
        Job.joins.is_(None),
        Job.due_at <= sa.bindparam("now"),
        Job.channel == sa.bindparam("channel_"),
        Job.unknown_attempt.is_(None),
        Job.asks.is_(False),
        sa.or_(Job.invite_at.is_(None), Job.invite_at <= sa.bindparam("now")),
    )
    .order_by(Job.due_at, Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
_DEFER_UNCLAIMED = (
    sa.update(Job)
    .where(bulk.within(Job.id, _DUE))
    .values(
        due_at=sa.bindparam("new_due_at"), reason=sa.bindparam("new_reason"), detail="", changed_at=sa.bindparam("now")
    )
)


def defer_unclaimed(connection: sa.Connection, account: str, like: Mapping[Channel, Later], *, now: datetime) -> None:
    """Defer a chunk of due jobs without claiming them. The senders of these channels have no room for any message."""
    for channel, why in like.items():
        given = {"account_": account, "channel_": channel, "now": now, "most": CHUNK}
        connection.execute(_DEFER_UNCLAIMED, given | {"new_due_at": why.due_at, "new_reason": why.reason})


def make_due(connection: sa.Connection, after: int, *, now: datetime) -> int | None:
    """Make the next chunk of jobs that wait for a sender due now, because an operator has retried a job.

    The chunk begins after the id `after`. Returns the last id of the chunk; None: there are no more jobs. Jobs that
    another transaction has locked are skipped.
    """
    ids = list(connection.execute(_WAITS, {"after": after, "now": now, "most": CHUNK}).scalars())
    if not ids:
        return None
    connection.execute(sa.update(Job).where(bulk.among(Job.id, "ids")).values(due_at=now), {"ids": bulk.keys(ids)})
    return ids[-1]


def make_snoozed_due(connection: sa.Connection, names: Collection[str], *, now: datetime) -> None:
    """Make the rows of these accounts and channels due now whose own call was answered with the account's pause."""
    snoozed = {"due_at": now}
    reasons = (Reason.RATE_LIMITED, Reason.UNREACHABLE)
    for model, of, waiting in (
        (Job, Job.account, JobState.WAITING),
        (InvitationRow, InvitationRow.channel, InvitationState.WAITING),
    ):
        rows = sa.update(model).where(of.in_(names), model.state == waiting, model.reason.in_(reasons))
        connection.execute(rows.where(model.due_at > now, model.unknown_attempt.is_(None)).values(snoozed))


_WAITS = (
    sa.select(Job.id)
    .where(
        Job.id > sa.bindparam("after"),
        Job.priority.in_(PRIORITIES),
        Job.state == bulk.fixed(JobState.WAITING),
        Job.joins.is_(None),
        Job.due_at > sa.bindparam("now"),
        Job.reason == Reason.WAITS_FOR_SENDER,
    )
    .order_by(Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
