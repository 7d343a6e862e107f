"""What is stored about the customers of a report that comes back: their details, and where each stands."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import AS_THEY_CAME
from worker.core.database.tables import Finished, Job
from worker.core.foundation.keyring import Keyring
from worker.core.model.states import JobState
from worker.lists.known_customers import Standing, standing_of
from worker.lists.store.admission import OF_PRESENT_PERSON
from worker.reporting.store.report_rows import Stored, details_of_customers


class Place(NamedTuple):
    """Where a customer stands for one purpose: by the last of the rows that served the customer."""

    standing: Standing
    batch_id: int
    row: int


@dataclass(frozen=True, repr=False)
class StoredCustomer:
    """A customer. `places` by purpose; a purpose without rows is not in it."""

    details: Stored
    places: dict[str, Place]


_JOBS = (
    sa.select(Job.customer_id, Job.purpose, Job.state, Job.batch_id, Job.row)
    .where(bulk.among(Job.customer_id, "customers"), Job.leader_id.is_(None))
    .where(sa.or_(Job.state != JobState.COMPLETED, OF_PRESENT_PERSON))
    .order_by(*AS_THEY_CAME)
)
_FINISHED = sa.select(Finished.__table__).where(bulk.among(Finished.customer_id, "customers"))


def stored_customers(database: Database, keyring: Keyring, customer_ids: Collection[str]) -> dict[str, StoredCustomer]:
    """The known ones of these customers, by id."""
    if not customer_ids:
        return {}
    given = {"customers": bulk.keys(set(customer_ids))}
    with database.read() as connection:
        details = details_of_customers(connection, keyring, customer_ids)
        jobs = fetch(connection, _JOBS, given)
        finished = {(row.customer_id, row.purpose): row for row in fetch(connection, _FINISHED, given)}
    found = {customer_id: StoredCustomer(one, {}) for customer_id, one in details.items()}
    rows: dict[tuple[str, str], list[Any]] = {}
    for job in jobs:
        rows.setdefault((job.customer_id, job.purpose), []).append(job)
    for key in {*rows, *finished}:
        own = rows.get(key, [])
        last = own[-1] if own else finished[key]
        standing = standing_of([job.state for job in own], finished=key in finished)
        if key[0] in found:
            found[key[0]].places[key[1]] = Place(standing, last.batch_id, last.row)
    return found
