"""Calls of ended jobs that may have opened a session: a later row of the customer is held while one is in doubt."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.job_ids import NEWEST_FIRST, among_keys, rows_of
from onboarding_worker.core.database.tables import Attempt, Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LATE, JobState
from onboarding_worker.core.rows.cancellation import change_jobs, waiting_again

# A session whose token was lost may stay open for the longest lifetime that a provider offers.
UNKNOWN_FOR = timedelta(days=30)
_LaterJob = aliased(Job)


def in_doubt(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> list[Any]:
    """The ended jobs of these customers whose last call may have opened a session, if no operator has decided about
    this call since; the newest first."""
    return fetch(connection, _IN_DOUBT, {"customers": bulk.keys(customer_ids), "since": now - UNKNOWN_FOR})


def release_cleared(connection: sa.Connection, job_ids: Collection[int], *, now: datetime) -> None:
    """Let the rows go on that are held because of the calls of these ended jobs, if no call is in doubt any more.

    A row that was held before its first claim has made no call of its own.
    """
    ended = fetch(connection, sa.select(Job.customer_id, Job.purpose).where(Job.id.in_(job_ids)))
    keys = {(row.customer_id, row.purpose) for row in ended}
    doubted = in_doubt(connection, {customer_id for customer_id, _ in keys}, now=now)
    cleared = keys - {(row.customer_id, row.purpose) for row in doubted}
    rows = rows_of(connection, _LOCK_HELD, cleared)
    if rows:
        change_jobs(connection, [row.id for row in rows], waiting_again(now))


_SAME = (_LaterJob.customer_id == Job.customer_id, _LaterJob.purpose == Job.purpose)
# A retry or resolve by an operator sets the job's attempts to zero, and its next claim raises its fence. A row that
# came after the call was held or joined. So if such a row was claimed (its fence is above 0), an operator decided.
_LATER = sa.exists().where(
    *_SAME, _LaterJob.id != Job.id, _LaterJob.created_at >= Attempt.opened_at, _LaterJob.fence > 0
)
_SESSION = sa.exists().where(SessionRow.job_id == _LaterJob.id, SessionRow.issued_at >= Attempt.opened_at, *_SAME)
_IN_DOUBT = (
    sa.select(Job.batch_id, Job.row, Job.customer_id, Job.purpose)
    .join(Attempt, Attempt.job_id == Job.id)
    .where(
        bulk.among(Job.customer_id, "customers"),
        Job.leader_id.is_(None),
        Job.state.in_([JobState.CANCELLED, JobState.FAILED, JobState.LAPSED]),
        Attempt.invitation_id.is_(None),
        Attempt.outcome.in_((Kind.UNKNOWN.value, LATE)),
        Attempt.repeatable.is_(False),
        # The job's last call, or the call that later look-ups tried to reconcile.
        sa.or_(Attempt.fence == Job.fence, Attempt.id == Job.unknown_attempt),
        Attempt.opened_at > sa.bindparam("since"),
        Job.attempts > 0,
        ~_LATER,
        ~_SESSION,
    )
    .order_by(*NEWEST_FIRST)
)
_LOCK_HELD = (
    sa.select(Job.id, Job.customer_id, Job.purpose)
    .where(*among_keys(Job), Job.state == JobState.HELD, Job.reason == Reason.UNKNOWN)
    .where(Job.fence == 0, Job.leader_id.is_(None))
    .order_by(Job.id)
    .with_for_update()
)
