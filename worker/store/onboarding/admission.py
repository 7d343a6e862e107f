"""Who serves a customer already, which decides what another row of the same customer and purpose becomes.

It joins the job that leads, or is skipped where the customer has finished, or is held where a call that was given
up with its job may have opened a session; else it leads.
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

# A session that nobody holds the token of may be open as long as the longest life that a provider offers.
UNKNOWN_FOR = timedelta(days=30)
_Later = aliased(Job)


def lock_customers(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    """Keep others that make jobs of these customers lead waiting until this transaction ends.

    In one order, as an import's own writing of its customers does: so that two cannot lock each other out.
    """
    query = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id.in_(customer_ids))
    fetch(connection, query.order_by(CustomerRow.customer_id).with_for_update(key_share=True))


def following(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> dict[Key, dict[str, Any]]:
    """What a row of each of these customers becomes: its values; one that is not in the answer leads.

    The leaders are locked against their end: who ends one sees whoever has joined it until then.
    """
    found: dict[Key, dict[str, Any]] = {}
    # PostgreSQL looks at a row again once it has waited for it: a leader that has ended meanwhile is left out.
    for row in fetch(connection, _jobs(keys, OPEN_JOBS).order_by(Job.id).with_for_update(read=True)):
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
    """Who has finished in batches that were purged since."""
    return sa.select(Finished.__table__).where(Finished.customer_id.in_({customer_id for customer_id, _ in keys}))


def _unknown_outcomes(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> list[sa.Row[Any]]:
    """The ended jobs whose last call may have opened a session, and nobody has decided about it since.

    A job that a person puts back begins with its attempts at zero, and its next taking raises its fence. A row
    that came after the call was held for it, or joined: that it was taken at all was a person's decision.
    """
    same = (_Later.customer_id == Job.customer_id, _Later.purpose == Job.purpose)
    later = sa.exists().where(*same, _Later.id > Job.id, _Later.created_at >= Attempt.opened_at, _Later.fence > 0)
    session = sa.exists().where(SessionRow.job_id == _Later.id, SessionRow.issued_at >= Attempt.opened_at, *same)
    query = (
        _jobs(keys, [JobState.CANCELLED, JobState.FAILED])
        .join(Attempt, Attempt.job_id == Job.id)
        .where(
            Attempt.invitation_id.is_(None),
            Attempt.outcome.in_((Kind.UNKNOWN.value, "late")),
            Attempt.repeatable.is_(False),
            # The job's last call, or the one that its look-ups, which were taken since, are about.
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
