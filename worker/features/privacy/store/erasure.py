"""Erases the personal data of customers whose jobs are all over, in chunks; safe to repeat.

Erased are the person, the personal data in their jobs' lines, and the links and tokens of their sessions. The rest
identifies no person: the list owner's id, states, times, and the providers' references.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database.audit_entries import RETENTION, Act, note
from worker.core.database.database import Database, fetch
from worker.core.database.tables import CustomerRow, Job, SessionRow
from worker.core.database.tables.columns import aliased
from worker.core.model.states import ENDED_JOBS, JobState, Result
from worker.events.store.customer_erasure import erase, erase_updates

CHUNK = 500
ERASES = Act(RETENTION, "customer.erased")
Place = tuple[datetime, str]  # a customer's place in the order of the search


@dataclass(frozen=True)
class ErasedChunk:
    """How many customers were erased, and where the next chunk starts; None: the search is complete."""

    customers: int
    after: Place | None


def over(job: Any, *, since: datetime) -> sa.ColumnElement[bool]:
    """True if nothing has happened to a job after `since`, and nothing will without a person.

    Either the job has ended, or its link was handed out, which is all that its list asked for, and has expired. While
    the provider reviews what the customer has submitted, its verdict is to come, and may have to be asked for.
    """
    goes_on = sa.or_(SessionRow.expires_at > since, SessionRow.result == Result.REVIEW)
    session = sa.exists().where(SessionRow.id == job.session_id, goes_on)
    out = sa.or_(job.state == JobState.INVITED, sa.and_(job.state == JobState.ISSUED, job.channel == Channel.NONE))
    return sa.and_(job.changed_at <= since, sa.or_(job.state.in_(ENDED_JOBS), sa.and_(out, ~session)))


class Erasing:
    def __init__(self, database: Database) -> None:
        self._database = database

    def chunk(self, *, after: Place | None, since: datetime, now: datetime) -> ErasedChunk:
        """Erase the next customers who were in no list after `since` and whose jobs are all over.

        A customer with a job that is not over, or with a session that still opens, keeps all data.
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
            # Locked, as an import and a retry lock customers: a transaction that reopens a customer's job has either
            # committed, and the next statement sees it, or waits for this one and then finds the person erased.
            rows = fetch(connection, kept.with_for_update(skip_locked=True))
            if not rows:
                return ErasedChunk(0, None)
            ids = self._whose_jobs_are_over(connection, [row.customer_id for row in rows], since=since, now=now)
            erase(connection, ids, now=now)
            erase_updates(connection, ids, until=now)
            if ids:
                note(connection, "customers whose time is over", now=now, count=len(ids), act=ERASES)
        last = rows[-1]
        return ErasedChunk(len(ids), (last.changed_at, last.customer_id))

    def forget(self) -> None:
        """SQLite: let its log forget what was erased, by events too. PostgreSQL does so itself."""
        self._database.forget_erased()

    def _whose_jobs_are_over(
        self, connection: sa.Connection, customer_ids: Collection[str], *, since: datetime, now: datetime
    ) -> list[str]:
        # Joined jobs are left out: the job that they joined belongs to the same customer.
        job = aliased(Job)
        going = sa.exists().where(
            job.customer_id == CustomerRow.customer_id, job.leader_id.is_(None), ~over(job, since=since)
        )
        opens = (
            sa.exists()
            .where(SessionRow.job_id == job.id, SessionRow.expires_at > now)
            .where(job.customer_id == CustomerRow.customer_id)
        )
        query = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id.in_(customer_ids), ~going, ~opens)
        return list(connection.execute(query).scalars())
