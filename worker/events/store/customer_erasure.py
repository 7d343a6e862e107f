"""Erases a customer because of an event, or of a command, and ends the customer's jobs.

A job in a call is marked, and ends with its call (`core.customers.store.cancellation`): a session that was being opened
is stored as the customer's, because it is open at the provider, but its link is not sent.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.store.cancellation import cancel_open
from worker.core.customers.store.erased_jobs import PERSON_GONE, erase_jobs
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import ERASED
from worker.core.database.tables import CustomerRow, Inbox, Job
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store import own_links
from worker.core.model.incoming import EventKind
from worker.core.model.states import OPEN_JOBS
from worker.events.standing import EarlierEvents, spares_newer
from worker.events.store.refused_events import erase_refused
from worker.lists.store.new_rows import bury


def erase_customer(
    connection: sa.Connection,
    keyring: Keyring,
    customer_id: str,
    at: datetime,
    known: EarlierEvents,
    *,
    final: bool,
    remembered: bool = True,
    now: datetime,
) -> Counter[str]:
    """Erase a customer as of `at`, except what a later request has made known again. The row must be locked.

    A command erases in the same way as an event: with nothing that is later. `final`: see `Tombstone`, which is made if
    `remembered`. Returns how many rows of each kind were erased.
    """
    jobs = sa.select(Job.id, Job.state).where(Job.customer_id == customer_id)
    spares = spares_newer(at, known)
    if spares:
        requested_at = (
            sa.select(Inbox.occurred_at)
            .where(Inbox.job_id == Job.id, Inbox.kind == EventKind.REQUESTED)
            .limit(1)
            .scalar_subquery()
        )
        jobs = jobs.where(sa.func.coalesce(requested_at, Job.created_at) <= at)
    rows = fetch(connection, jobs)
    ended = [row.id for row in rows if row.state in OPEN_JOBS]
    cancel_open(connection, ended, now=now)
    counts = Counter({"jobs ended": len(ended)})
    counts["updates"] += erase_updates(connection, [customer_id], until=at)
    counts["refused events"] += erase_refused(connection, keyring, [customer_id])
    if spares:
        counts.update(erase_jobs(connection, [row.id for row in rows]))
    else:
        counts.update(erase(connection, [customer_id], now=now))
        if remembered:
            bury(connection, keyring, customer_id, at, final=final)
    if known.details_at is None or known.details_at <= at:
        gone = PERSON_GONE | {"details_at": at, "changed_at": now}
        has_details = sa.or_(CustomerRow.encrypted.is_not(None), CustomerRow.details_at.is_not(None))
        person = sa.update(CustomerRow).where(CustomerRow.customer_id == customer_id, has_details)
        connection.execute(person.values(gone))
    return counts


def erase(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> Counter[str]:
    """Erase these customers' personal data, whatever their jobs' states; their rows must be locked.

    Returns how many rows of each kind were erased.
    """
    if not customer_ids:
        return Counter()
    jobs = sa.select(Job.id).where(Job.customer_id.in_(customer_ids))
    counts = erase_jobs(connection, list(connection.execute(jobs).scalars()))
    counts["links and tokens"] += own_links.forget(connection, customer_ids)
    people = sa.update(CustomerRow).where(CustomerRow.customer_id.in_(customer_ids), CustomerRow.encrypted.is_not(None))
    counts["persons"] += connection.execute(people.values(**PERSON_GONE, changed_at=now)).rowcount
    return counts


def erase_updates(connection: sa.Connection, customer_ids: Collection[str], *, until: datetime) -> int:
    """Erase the stored columns of these customers' updates that happened until `until`; returns how many."""
    kept = sa.update(Inbox).where(
        Inbox.customer_id.in_(customer_ids),
        Inbox.occurred_at <= until,
        Inbox.encrypted.is_not(None),
        Inbox.encrypted != ERASED,
    )
    return connection.execute(kept.values(encrypted=ERASED)).rowcount
