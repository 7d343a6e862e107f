"""Erasing the personal data of customers for whom all is over: a chunk at a time, as often as one likes.

What goes: the person, what the lines of their jobs said of them, the links and tokens of their sessions. What stays
names nobody: the list owner's id, states, times, and the providers' references.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.customers import Channel
from worker.domain.model.states import ENDED_JOBS, JobState
from worker.store.base.database import Database, fetch
from worker.store.base.encrypted_values import ERASED
from worker.store.tables import CustomerRow, Inbox, Job, SessionRow

CHUNK = 500
Place = tuple[datetime, str]  # a customer's place in the order in which they are looked at


@dataclass(frozen=True)
class ErasedLot:
    """How many customers were erased, and where to look on; None: all were looked at."""

    customers: int
    after: Place | None


def over(job: Any, *, since: datetime) -> sa.ColumnElement[bool]:
    """Whether nothing has happened to a job since then, and nothing will by itself.

    It has ended. Or its link was given out, which is all that its list asked for or waits for, and has expired.
    """
    session = sa.exists().where(SessionRow.id == job.session_id, SessionRow.expires_at > since)
    out = sa.or_(job.state == JobState.INVITED, sa.and_(job.state == JobState.ISSUED, job.channel == Channel.NONE))
    return sa.and_(job.changed_at <= since, sa.or_(job.state.in_(ENDED_JOBS), sa.and_(out, ~session)))


class Erasing:
    def __init__(self, database: Database) -> None:
        self._database = database

    def chunk(self, *, after: Place | None, since: datetime, now: datetime) -> ErasedLot:
        """Look at the next customers who were in no list `since` then, and erase those for whom all is over.

        One with a job that is not over, or a session that still opens, keeps everything.
        """
        kept = sa.select(CustomerRow.customer_id, CustomerRow.changed_at).where(
            CustomerRow.encrypted.is_not(None), CustomerRow.changed_at <= since
        )
        if after is not None:
            at, customer_id = after
            beyond = sa.and_(CustomerRow.changed_at == at, CustomerRow.customer_id > customer_id)
            kept = kept.where(CustomerRow.changed_at >= at, sa.or_(CustomerRow.changed_at > at, beyond))
        kept = kept.order_by(CustomerRow.changed_at, CustomerRow.customer_id).limit(CHUNK)
        with self._database.write() as connection:
            # Locked, as an import and a retry lock them: whoever makes a customer's job open again is either done,
            # and seen by the next statement, or waits for this transaction and then finds the person erased.
            looked_at = fetch(connection, kept.with_for_update(skip_locked=True))
            if not looked_at:
                return ErasedLot(0, None)
            ids = self._for_whom_all_is_over(connection, [row.customer_id for row in looked_at], since=since, now=now)
            erase(connection, ids, now=now)
            erase_updates(connection, ids, until=now)
        last = looked_at[-1]
        return ErasedLot(len(ids), (last.changed_at, last.customer_id))

    def _for_whom_all_is_over(
        self, connection: sa.Connection, customer_ids: Collection[str], *, since: datetime, now: datetime
    ) -> list[str]:
        # A row that joined another is served by that one, which is a job of the same customer.
        job = aliased(Job)
        going = sa.exists().where(
            job.customer_id == CustomerRow.customer_id, job.joins.is_(None), ~over(job, since=since)
        )
        opens = (
            sa.exists()
            .where(SessionRow.job_id == job.id, SessionRow.expires_at > now)
            .where(job.customer_id == CustomerRow.customer_id)
        )
        query = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id.in_(customer_ids), ~going, ~opens)
        return list(connection.execute(query).scalars())


def erase(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> None:
    """Erase what is personal of these customers, whatever their jobs' states; their rows must be locked."""
    if not customer_ids:
        return
    jobs = sa.select(Job.id).where(Job.customer_id.in_(customer_ids))
    erase_jobs(connection, list(connection.execute(jobs).scalars()))
    people = sa.update(CustomerRow).where(CustomerRow.customer_id.in_(customer_ids))
    connection.execute(people.values(encrypted=None, changed_at=now))


def erase_jobs(connection: sa.Connection, ids: Collection[int]) -> None:
    """Erase what these jobs' lines said, and their sessions' links."""
    sessions = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.encrypted != ERASED)
    connection.execute(sessions.values(encrypted=ERASED))
    # Only those that have something: a job's row is written to six indexes, or not at all.
    lines = sa.update(Job).where(Job.id.in_(ids), Job.encrypted.is_not(None), Job.encrypted != ERASED)
    connection.execute(lines.values(encrypted=ERASED))


def erase_updates(connection: sa.Connection, customer_ids: Collection[str], *, until: datetime) -> None:
    """Erase what is kept of updates of these customers that happened until then."""
    kept = sa.update(Inbox).where(
        Inbox.customer_id.in_(customer_ids),
        Inbox.occurred_at <= until,
        Inbox.encrypted.is_not(None),
        Inbox.encrypted != ERASED,
    )
    connection.execute(kept.values(encrypted=ERASED))
