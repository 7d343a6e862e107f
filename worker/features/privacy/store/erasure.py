"""Erases the personal data of customers whose jobs are all over, and what is kept for a time alone: links that open
nothing any more, events of the inbox, places of addresses. In chunks; safe to repeat.

Erased are the person, the personal data in their jobs' lines, and the links and tokens of their sessions. The rest
identifies no person: the list owner's id, states, times, and the providers' references.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database.audit_entries import RETENTION, Act, note
from worker.core.database.database import Database, fetch
from worker.core.database.encrypted_values import ERASED
from worker.core.database.tables import AddressPlace, CustomerRow, Inbox, InvitationRow, Job, SessionRow
from worker.core.database.tables.columns import aliased
from worker.core.model.states import ENDED_JOBS, OPEN_INVITATIONS, JobState, Result
from worker.events.store.customer_erasure import erase, erase_updates

CHUNK = 500  # customers
SESSIONS_AT_ONCE, EVENTS_AT_ONCE, PLACES_AT_ONCE = 500, 1000, 5000
ERASES = Act(RETENTION, "customer.erased")
Place = tuple[datetime, str]  # a customer's place in the order of the search


def over(job: Any, *, since: datetime) -> sa.ColumnElement[bool]:
    """True if nothing has happened to a job after `since`, and nothing will without a person.

    Either the job has ended, or its link was handed out, which is all that its list asked for, and has expired. While
    the provider reviews what the customer has submitted, its verdict is to come, and may have to be asked for.
    """
    goes_on = sa.or_(SessionRow.expires_at > since, SessionRow.result == Result.REVIEW)
    session = sa.exists().where(SessionRow.id == job.session_id, goes_on)
    out = sa.or_(job.state == JobState.INVITED, sa.and_(job.state == JobState.ISSUED, job.channel == Channel.NONE))
    return sa.and_(job.changed_at <= since, sa.or_(job.state.in_(ENDED_JOBS), sa.and_(out, ~session)))


def erase_next(database: Database, *, after: Place | None, since: datetime, now: datetime) -> tuple[int, Place | None]:
    """Erase the next customers who were in no list after `since` and whose jobs are all over.

    A customer with a job that is not over, or with a session that still opens, keeps all data. Returns how many
    were erased, and where the next chunk starts; None: the search is complete.
    """
    kept = sa.select(CustomerRow.customer_id, CustomerRow.changed_at).where(
        CustomerRow.encrypted.is_not(None), CustomerRow.changed_at <= since
    )
    if after is not None:
        at, customer_id = after
        beyond = sa.and_(CustomerRow.changed_at == at, CustomerRow.customer_id > customer_id)
        kept = kept.where(CustomerRow.changed_at >= at, sa.or_(CustomerRow.changed_at > at, beyond))
    kept = kept.order_by(CustomerRow.changed_at, CustomerRow.customer_id).limit(CHUNK)
    with database.write() as connection:
        # Locked, as an import and a retry lock customers: a transaction that reopens a customer's job has either
        # committed, and the next statement sees it, or waits for this one and then finds the person erased.
        rows = fetch(connection, kept.with_for_update(skip_locked=True))
        if not rows:
            return 0, None
        ids = _whose_jobs_are_over(connection, [row.customer_id for row in rows], since=since, now=now)
        erase(connection, ids, now=now)
        erase_updates(connection, ids, until=now)
        if ids:
            note(connection, "customers whose time is over", now=now, count=len(ids), act=ERASES)
    last = rows[-1]
    return len(ids), (last.changed_at, last.customer_id)


def _whose_jobs_are_over(
    connection: sa.Connection, customer_ids: Collection[str], *, since: datetime, now: datetime
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


# A look-up of an open message may search for its link.
_NEEDED = sa.exists().where(InvitationRow.session_id == SessionRow.id, InvitationRow.state.in_(OPEN_INVITATIONS))


def drop_links(database: Database, *, since: datetime) -> int:
    """Drop the tokens and links of the next sessions that expired until `since`: they are still secrets. Returns how
    many. References and the hash of a token stay: late events of the provider name the session by them."""
    # Spelled exactly as in the index.
    expired = sa.select(SessionRow.id).where(sa.text("length(encrypted) > 0"), SessionRow.expires_at <= since, ~_NEEDED)
    ids = (
        expired.order_by(SessionRow.expires_at).limit(SESSIONS_AT_ONCE).with_for_update(skip_locked=True, of=SessionRow)
    )
    with database.write() as connection:
        found = list(connection.execute(ids).scalars())
        if found:
            connection.execute(sa.update(SessionRow).where(SessionRow.id.in_(found)).values(encrypted=ERASED))
    return len(found)


def erase_old_updates(database: Database, *, since: datetime) -> int:
    """Erase the stored columns of the next updates that were received until `since`; returns how many."""
    # Spelled exactly as in the index.
    kept = sa.select(Inbox.id).where(sa.text("length(encrypted) > 0"), Inbox.received_at <= since)
    ids = kept.order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
    with database.write() as connection:
        return connection.execute(sa.update(Inbox).where(Inbox.id.in_(ids)).values(encrypted=ERASED)).rowcount


def remove_events(database: Database, *, since: datetime) -> int:
    """Remove the next events that were received until `since`; returns how many."""
    ids = sa.select(Inbox.id).where(Inbox.received_at <= since).order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
    with database.write() as connection:
        return connection.execute(sa.delete(Inbox).where(Inbox.id.in_(ids))).rowcount


def remove_places(database: Database, *, since: datetime) -> int:
    """Remove the next places that were taken until `since`; returns how many."""
    old = sa.select(AddressPlace.digest, AddressPlace.number).where(AddressPlace.taken_at <= since)
    keys = old.order_by(AddressPlace.taken_at).limit(PLACES_AT_ONCE)
    gone = sa.delete(AddressPlace).where(sa.tuple_(AddressPlace.digest, AddressPlace.number).in_(keys))
    with database.write() as connection:
        return connection.execute(gone).rowcount
