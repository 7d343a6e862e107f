"""Erases a customer, as an event does."""

from datetime import datetime

from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring
from worker.events.standing import EarlierEvents
from worker.events.store.event_customers import erase_customer
from worker.lists.store.admission import lock_customers


def erased(database: Database, keyring: Keyring, customer_id: str, *, now: datetime) -> None:
    with database.write() as connection:
        lock_customers(connection, [customer_id])
        erase_customer(connection, keyring, customer_id, now, EarlierEvents(), final=True, now=now)
