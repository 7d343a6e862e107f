"""What a new row becomes if other rows have the same customer and purpose.

The row joins the leading job. If the customer has finished, the row is skipped. If a call of an ended job may have
opened a session, the row is held. Otherwise the row leads.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.endings import Kind
from worker.domain.model.reasons import Reason
from worker.domain.model.states import OPEN_JOBS, JobState
from worker.store.base.customer_keys import Key
from worker.store.base.database import fetch
from worker.store.tables import Attempt, CustomerRow, Finished, Job, SessionRow

# A session whose token was lost may stay open for the longest lifetime that a provider offers.
UNKNOWN_FOR = timedelta(days=30)
_LaterJob = aliased(Job)


def lock_customers(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    """Lock these customers: transactions that make their jobs lead wait until this transaction ends.

    The locks are taken in the same order as an import writes its customers, which prevents deadlocks.
    """
    query = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id.in_(customer_ids))
    fetch(connection, query.order_by(CustomerRow.customer_id).with_for_update(key_share=True))


def following(
    connection: sa.Connection, keys: Collection[Key], *, now: datetime, lock: bool = True
) -> dict[Key, dict[str, Any]]:
    """The values that a new row gets, by key. A key that is not in the result leads.

    The leaders are locked, so they cannot end meanwhile: a transaction that ends a leader sees all rows that joined it.
    Without `lock` nothing is, for a forecast.
    """
    found: dict[Key, dict[str, Any]] = {}
    # PostgreSQL checks a row again after it has waited for its lock: a leader that ended meanwhile is left out.
    leaders = _jobs(keys, OPEN_JOBS).order_by(Job.id)
    for row in fetch(connection, leaders.with_for_update(read=True) if lock else leaders):
        joined = {"joins": row.id, "due_at": None, "reason": Reason.JOINED_JOB}
        found[row.customer_id, row.purpose] = joined | {"detail": f"the customer is being served by {_where(row)}"}
    for row in fetch(connection, _jobs(keys, [JobState.COMPLETED])):
        skipped = {"state": JobState.COMPLETED, "due_at": None, "result": row.result, "reason": Reason.ALREADY_FINISHED}
        finished = skipped | {"detail": f"the customer finished in {_where(row)}"}
        found.setdefault((row.customer_id, row.purpose), finished)
    for row in fetch(connection, _purged(keys)):
        skipped = {"state": JobState.COMPLETED, "due_at": None, "result": row.result, "reason": Reason.ALREADY_FINISHED}
        finished = skipped | {"detail": f"the customer finished in {_where(row)}, which was purged"}
        found.setdefault((row.customer_id, row.purpose), finished)
    for row in _unknown_outcomes(connection, keys, now=now):
        why = f"a call for {_where(row)} may have opened a session; `onboard resolve --repeat` calls anyway"
        held = {"state": JobState.HELD, "due_at": None, "reason": Reason.UNKNOWN, "detail": why}
        found.setdefault((row.customer_id, row.purpose), held)
    return {key: found[key] for key in keys if key in found}


def _jobs(keys: Collection[Key], states: Collection[JobState]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(Job.id, Job.batch_id, Job.row, Job.customer_id, Job.purpose, Job.result).where(
        Job.customer_id.in_({customer_id for customer_id, _ in keys}), Job.joins.is_(None), Job.state.in_(states)
    )


def _purged(keys: Collection[Key]) -> sa.Select[*tuple[Any, ...]]:
    """The customers who finished in batches that were purged since."""
    return sa.select(Finished.__table__).where(Finished.customer_id.in_({customer_id for customer_id, _ in keys}))


def _unknown_outcomes(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> list[sa.Row[Any]]:
    """The ended jobs whose last call may have opened a session, if no operator has decided about this call since.

    A retry or resolve by an operator sets the job's attempts to zero, and its next claim raises its fence. A row that
    came after the call was held or joined. So if such a row was claimed (its fence is above 0), an operator decided.
    """
    same = (_LaterJob.customer_id == Job.customer_id, _LaterJob.purpose == Job.purpose)
    later = sa.exists().where(
        *same, _LaterJob.id > Job.id, _LaterJob.created_at >= Attempt.opened_at, _LaterJob.fence > 0
    )
    session = sa.exists().where(SessionRow.job_id == _LaterJob.id, SessionRow.issued_at >= Attempt.opened_at, *same)
    query = (
        _jobs(keys, [JobState.CANCELLED, JobState.FAILED, JobState.LAPSED])
        .join(Attempt, Attempt.job_id == Job.id)
        .where(
            Attempt.invitation_id.is_(None),
            Attempt.outcome.in_((Kind.UNKNOWN.value, "late")),
            Attempt.repeatable.is_(False),
            # The job's last call, or the call that later look-ups tried to reconcile.
            sa.or_(Attempt.fence == Job.fence, Attempt.id == Job.unknown_attempt),
            Attempt.opened_at > now - UNKNOWN_FOR,
            Job.attempts > 0,
            ~later,
            ~session,
        )
    )
    return fetch(connection, query.order_by(Job.id.desc()))


def _where(row: sa.Row[Any]) -> str:
    return f"batch {row.batch_id}, row {row.row}"
