"""Ends a customer's jobs because of an event, and erases a customer because of an event.

A row that is not leased ends at once. A leased row is marked, and ends when its call is done: a session that was being
opened is stored as the customer's, because it is open at the provider, but its link is not sent.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from worker.domain.events.incoming import EventKind
from worker.domain.events.ordering import EarlierEvents, spares_newer
from worker.domain.model.states import OPEN_JOBS
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.customer_keys import Key
from worker.store.base.database import fetch
from worker.store.base.keys_of_customers import destroy_unused
from worker.store.inbox.refused_events import erase_refused
from worker.store.onboarding.cancellation import cancel_open
from worker.store.onboarding.erased_jobs import erase_jobs
from worker.store.onboarding.tombstones import bury
from worker.store.privacy.erasure import PERSON_GONE, erase, erase_updates
from worker.store.tables import CustomerRow, Inbox, Job

_OPEN = sa.select(Job.id, Job.customer_id, Job.purpose, Job.joins).where(
    bulk.among(Job.customer_id, "customers"), Job.state.in_(OPEN_JOBS)
)


def withdraw(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> dict[Key, int]:
    """End the open jobs of these customers for these purposes, whichever list or event added them.

    Returns the job that served each key; a key without a job is left out. The customers must be locked.
    """
    rows = fetch(connection, _OPEN, {"customers": bulk.keys({customer_id for customer_id, _ in keys})})
    rows = [row for row in rows if (row.customer_id, row.purpose) in keys]
    cancel_open(connection, [row.id for row in rows], now=now)
    # The leading job comes last in the order, so that it stays in the result.
    return {(row.customer_id, row.purpose): row.id for row in sorted(rows, key=lambda row: row.joins is None)}


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
    if not spares and (keys := destroy_unused(connection, [customer_id])):
        counts["keys of the customer"] = keys
    return counts
