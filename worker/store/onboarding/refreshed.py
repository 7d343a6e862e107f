"""Gives customers who are known the details of the newest list. An empty cell says nothing: what is stored stays."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.model.customers import Customer
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.base.encrypted_values import Erased, decrypt_person
from worker.store.base.keys_of_customers import readable
from worker.store.base.loading import load_over
from worker.store.onboarding.admission import lock_customers
from worker.store.onboarding.new_rows import DETAILS, customer_row
from worker.store.tables import CustomerRow

_STORED = sa.select(
    CustomerRow.customer_id, CustomerRow.country, CustomerRow.locale, CustomerRow.timezone, CustomerRow.encrypted
).where(bulk.among(CustomerRow.customer_id, "customers"))


def refresh(connection: sa.Connection, keyring: Keyring, customers: Collection[Customer], *, now: datetime) -> None:
    """`customers` are known. The customers are locked first, in the order that is the same everywhere."""
    if not customers:
        return
    given = {customer.customer_id: customer for customer in customers}
    lock_customers(connection, given.keys())
    stored = fetch(connection, _STORED, {"customers": bulk.keys(given)})
    keys = readable(connection, keyring, [row.encrypted for row in stored])
    merged = {row.customer_id: _merged(keys, row, given[row.customer_id]) for row in stored}
    rows = [customer_row(keyring, merged[one], details_at=now, now=now) for one in sorted(merged)]
    load_over(connection, CustomerRow, rows, key="customer_id", changed=DETAILS)


def _merged(keyring: Keyring, row: Any, given: Customer) -> Customer:
    try:
        person = decrypt_person(keyring, row.customer_id, row.encrypted)
    except (Erased, CannotDecrypt):
        return given  # erased, and brought back; or by a key that the ring has no more
    new = {name: value for name, value in vars(given.person).items() if value}
    own = {name: getattr(given, name) or getattr(row, name) for name in ("country", "locale", "timezone")}
    return replace(given, person=replace(person, **new), **own)


def of_rows(customers: Sequence[Customer], ids: Collection[str]) -> list[Customer]:
    """The last of these customers for each id."""
    return list({one.customer_id: one for one in customers if one.customer_id in ids}.values())
