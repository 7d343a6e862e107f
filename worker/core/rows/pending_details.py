"""Details that wait until their row is released: another list's unfinished business must not change a customer.

A row is not released while its batch was paused when it was imported and no one has resumed it, while it is behind its
list's pilot, and before its list's start. Until then the details of a customer who is known wait here. Those of a
customer who was not known are stored as the customer's, and are marked as this row's: another row's replace them.
`released` applies what is due.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.database import THERE_IS, fetch
from onboarding_worker.core.database.job_ids import ROWS
from onboarding_worker.core.database.tables import BatchPlan, CustomerRow, PendingDetails
from onboarding_worker.core.rows.erased_jobs import PERSON_GONE, erase_again

ANY = sa.select(sa.exists(sa.select(PendingDetails.job_id))).scalar_subquery()
_OWN = PendingDetails.encrypted.is_(None)
# Whether all that is stored of a customer is what a row brought that is not released.
IS_UNRELEASED = sa.exists().where(PendingDetails.customer_id == CustomerRow.customer_id, _OWN)
_NAMES = ("customer_id", "kind", "country", "locale", "timezone")


def is_due(now: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """True if details wait whose row is released."""
    return THERE_IS.where(PendingDetails.due_at <= now)


def keep(
    connection: sa.Connection,
    job_ids: Collection[int],
    customers: Columns,
    *,
    waiting: Collection[str],
    new: Collection[str],
    due_at: datetime | None,
    now: datetime,
) -> None:
    """Keep the details of these jobs' customers, who are parallel to them: of those in `waiting`, who are known. Those
    in `new` are stored already, and marked as their rows'. `due_at`: see the column."""
    rows = []
    for place, job_id in enumerate(job_ids):
        customer_id = customers["customer_id"][place]
        if customer_id in waiting or customer_id in new:
            row = {name: customers[name][place] for name in _NAMES} | {"job_id": job_id}
            encrypted = customers["encrypted"][place] if customer_id in waiting else None
            rows.append(row | {"encrypted": encrypted, "given_at": now, "due_at": due_at})
    bulk.add(connection, PendingDetails, rows)


def let_go(connection: sa.Connection, job_ids: Collection[int]) -> None:
    """These rows are released, by a person or the verdict on the pilot: their details are due now, or at the start."""
    connection.execute(_LET_GO, {"ids": bulk.keys(job_ids)})


def waiting_among(connection: sa.Connection, job_ids: Collection[int]) -> dict[int, datetime | None]:
    """Those of these jobs whose details wait, and since or until when."""
    return {row.job_id: row.due_at for row in fetch(connection, _WAITING, {"ids": bulk.keys(job_ids)})}


def settled(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    """Other details replace what is stored of these customers: it is no unreleased row's any more."""
    connection.execute(_UNMARK, {"customers": bulk.keys(customer_ids)})


def drop(connection: sa.Connection, job_ids: Collection[int], *, now: datetime) -> None:
    """These rows are cancelled: their details go, also those that are stored as the customer's and no one else's."""
    gone = connection.execute(_DROP, {"ids": bulk.keys(job_ids)}).all()
    if not gone:
        return
    own = {"customers": bulk.keys({row.customer_id for row in gone if row.encrypted is None})}
    fetch(connection, _LOCK, own)
    connection.execute(_WIPE, own | {"at": now})
    # Nothing finds these any more that erases what is the customers' whose time is over.
    erase_again(connection, [row.job_id for row in gone])


_ROW = (PendingDetails.job_id, PendingDetails.customer_id, PendingDetails.encrypted)
_OF_JOBS = bulk.among(PendingDetails.job_id, "ids")
_START = sa.select(BatchPlan.start_at).where(BatchPlan.batch_id == PendingDetails.job_id // ROWS).scalar_subquery()
_LET_GO = sa.update(PendingDetails).where(_OF_JOBS).values(due_at=sa.func.coalesce(_START, PendingDetails.given_at))
_WAITING = sa.select(PendingDetails.job_id, PendingDetails.due_at).where(_OF_JOBS, ~_OWN)
_UNMARK = sa.delete(PendingDetails).where(bulk.among(PendingDetails.customer_id, "customers"), _OWN)
_DROP = sa.delete(PendingDetails).where(_OF_JOBS).returning(*_ROW)
_LOCK = (
    sa.select(CustomerRow.customer_id)
    .where(bulk.among(CustomerRow.customer_id, "customers"))
    .order_by(CustomerRow.customer_id)
    .with_for_update()
)
_WIPE = (
    sa.update(CustomerRow)
    .where(bulk.among(CustomerRow.customer_id, "customers"), ~IS_UNRELEASED)
    .values(**PERSON_GONE, details_at=None, changed_at=sa.bindparam("at"))
)
