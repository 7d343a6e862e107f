"""Applies the details of rows that are released to their customers: a step of the sweep.

Until then no call is made for such a row (`work.store.gates`), so it does not matter how soon this is.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from worker.core.customers.store.refreshed import beside, opened, refresh
from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import batch_of, row_of
from worker.core.database.outages import outlive_deadlocks
from worker.core.database.tables import CustomerRow, PendingDetails
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.model.audit import Act

log = logging.getLogger(__name__)
CHUNK = 1000
ACT = Act("schedule", "released")
AGAIN = timedelta(hours=1)  # for details that no key decrypts


def apply(database: Database, keyring: Keyring, *, now: datetime) -> None:
    while outlive_deadlocks(partial(_apply_chunk, database, keyring, now=now)) == CHUNK:
        pass


def _apply_chunk(database: Database, keyring: Keyring, *, now: datetime) -> int:
    with database.write() as connection:
        due = fetch(connection, _DUE, {"now": now})
        # Who deletes a row decides about it: a cancellation meanwhile has deleted it, or finds it applied.
        taken = connection.execute(_TAKE, {"ids": bulk.keys(row.job_id for row in due)}).all() if due else []
        waiting = sorted((row for row in taken if row.encrypted is not None), key=lambda row: row.job_id)
        if waiting:
            _apply(connection, keyring, waiting, now=now)
        return len(due)


def _apply(connection: sa.Connection, keyring: Keyring, waiting: Sequence[Any], *, now: datetime) -> None:
    ids = {row.customer_id for row in waiting}
    stored = {row.customer_id: row.details_at for row in fetch(connection, _STORED, {"ids": bulk.keys(ids)})}
    closed = []
    # Batch by batch, as they came: of two lists of a customer the later one finds what the earlier one has given.
    for batch_id, rows in groupby(waiting, key=lambda row: batch_of(row.job_id)):
        mine, given_at = [], {}
        for row in rows:
            try:
                customer = opened(keyring, row._mapping)
            except CannotDecrypt:
                closed.append(row._asdict() | {"due_at": now + AGAIN})
                continue
            # What was given since then, by an event, a person or a list that was released sooner, stays.
            if stored[row.customer_id] is None or stored[row.customer_id] <= row.given_at:
                mine.append((row_of(row.job_id), customer))
                given_at[row_of(row.job_id)] = row.given_at
        found = [replace(one, given_at=given_at[one.row]) for one in beside(connection, keyring, mine, now=now)]
        refresh(connection, keyring, found, batch_id=batch_id, act=ACT, now=now)
    if closed:
        log.error("the details of %d released rows cannot be read: they wait for their key", len(closed))
        bulk.add(connection, PendingDetails, closed)


_COLUMNS = PendingDetails.__table__.columns
_DUE = (
    sa.select(PendingDetails.job_id)
    .where(PendingDetails.due_at <= sa.bindparam("now"))
    .order_by(PendingDetails.due_at, PendingDetails.job_id)
    .limit(CHUNK)
)
_TAKE = sa.delete(PendingDetails).where(bulk.among(PendingDetails.job_id, "ids")).returning(*_COLUMNS)
_STORED = (
    sa.select(CustomerRow.customer_id, CustomerRow.details_at)
    .where(bulk.among(CustomerRow.customer_id, "ids"))
    .order_by(CustomerRow.customer_id)
    .with_for_update(key_share=True)
)
