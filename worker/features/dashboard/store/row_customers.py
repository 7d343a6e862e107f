"""The customer of a batch's row, as a message is written to."""

import sqlalchemy as sa

from worker.core.customers.customers import Customer
from worker.core.database.database import Database
from worker.core.database.job_ids import job_id
from worker.core.database.tables import CustomerRow, Job
from worker.core.foundation.keyring import Keyring
from worker.core.messages.store.message_context import CUSTOMER, customer_of


def customer_of_row(database: Database, keyring: Keyring, batch_id: int, row: int) -> Customer | None:
    """None: the batch has no such row, or it was rejected. Raises keyring.CannotDecrypt, encrypted_values.Erased."""
    query = (
        sa.select(*CUSTOMER)
        .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
        .where(Job.id == job_id(batch_id, row))
    )
    with database.read() as connection:
        found = connection.execute(query).one_or_none()
    return customer_of(keyring, found) if found is not None else None
