"""Erases a customer, as an event does."""

from datetime import datetime

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.events.standing import EarlierEvents
from onboarding_worker.events.store.event_customers import erase_customer
from onboarding_worker.lists.store.admission import lock_customers


def erased(database: Database, keyring: Keyring, customer_id: str, *, now: datetime) -> None:
    with database.write() as connection:
        lock_customers(connection, [customer_id])
        erase_customer(connection, keyring, customer_id, now, EarlierEvents(), final=True, now=now)
