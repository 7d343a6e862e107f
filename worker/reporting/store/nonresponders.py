"""Customers who were invited by a time and have not finished, with each message that they were sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.store.in_review import OTHER_IN_REVIEW
from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import InvitationRow, Job, SessionRow
from worker.core.model.states import InvitationState, JobState, Result
from worker.core.work.store.sessions import FIRST

CHUNK = 500
# A customer whose list was cancelled was not asked any more; one in review has done what was asked.
_OPEN = [state for state in JobState if state not in (JobState.COMPLETED, JobState.CANCELLED)]
_LEFT = [state for state in InvitationState if state is not InvitationState.SUPERSEDED]


@dataclass(frozen=True)
class Message:
    """A message: when it left, or is due; and what is known of it. `reason`: why it did not leave."""

    at: datetime | None
    channel: str
    kind: str
    state: str
    reason: str


@dataclass(frozen=True)
class Nonresponder:
    """A customer who has not finished. `invited_at`: when the first invitation left."""

    batch_id: int
    row: int
    customer_id: str
    purpose: str
    state: str
    account: str
    invited_at: datetime
    messages: Sequence[Message]


def nonresponders(database: Database, *, by: datetime, batch_id: int | None = None) -> Iterator[Nonresponder]:
    """Those who were invited by this time, in the order of their batches and rows. They are read in chunks.

    Customers in review have submitted and are left out, and so are rows that joined another list's row.
    """
    after = 0
    while True:
        with database.read() as connection:
            jobs = fetch(connection, _jobs(by, batch_id, after))
            messages = _messages(connection, [job.id for job in jobs])
        for job in jobs:
            values = {name: value for name, value in job._asdict().items() if name != "id"}
            yield Nonresponder(**values | {"state": str(job.state)}, messages=messages[job.id])
        if not jobs:
            return
        after = jobs[-1].id


def _jobs(by: datetime, batch_id: int | None, after: int) -> sa.Select[*tuple[Any, ...]]:
    firsts = sa.select(sa.func.min(InvitationRow.sent_at)).where(
        InvitationRow.job_id == Job.id, InvitationRow.kind == FIRST, InvitationRow.sent_at.is_not(None)
    )
    in_review = sa.exists().where(
        SessionRow.id == Job.session_id, sa.or_(SessionRow.result == Result.REVIEW.value, OTHER_IN_REVIEW)
    )
    invited_at = firsts.scalar_subquery().label("invited_at")
    query = (
        sa.select(Job.id, Job.batch_id, Job.row, Job.customer_id, Job.purpose, Job.state, Job.account, invited_at)
        .where(Job.id > after, Job.leader_id.is_(None), Job.state.in_(_OPEN), ~in_review, invited_at <= by)
        .order_by(Job.id)
        .limit(CHUNK)
    )
    return query if batch_id is None else query.where(of_batch(batch_id))


def _messages(connection: sa.Connection, jobs: Sequence[int]) -> dict[int, list[Message]]:
    found: dict[int, list[Message]] = {job: [] for job in jobs}
    at = sa.func.coalesce(InvitationRow.sent_at, InvitationRow.due_at)
    query = (
        sa.select(
            InvitationRow.job_id,
            at.label("at"),
            InvitationRow.channel,
            InvitationRow.kind,
            InvitationRow.state,
            InvitationRow.reason,
        )
        .where(InvitationRow.job_id.in_(jobs), InvitationRow.state.in_(_LEFT))
        .order_by(InvitationRow.job_id, at, InvitationRow.id)
    )
    for row in fetch(connection, query) if jobs else []:
        found[row.job_id].append(Message(row.at, row.channel, row.kind, str(row.state), row.reason))
    return found
