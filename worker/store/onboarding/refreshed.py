"""Gives customers who are known the details of the newest list. An empty cell says nothing: what is stored stays."""

from collections.abc import Iterable, Mapping
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
from worker.store.onboarding.admission import lock_customers
from worker.store.onboarding.new_rows import change_details, customer_row
from worker.store.tables import CustomerRow

Row = Mapping[str, Any]
_STORED = sa.select(
    CustomerRow.customer_id, CustomerRow.country, CustomerRow.locale, CustomerRow.timezone, CustomerRow.encrypted
).where(bulk.among(CustomerRow.customer_id, "customers"))


def refresh(connection: sa.Connection, keyring: Keyring, rows: Iterable[Row], *, now: datetime) -> None:
    """Give customers who are known the details of these `SealedLines.customers`; of several for one customer the last.

    The customers are locked first, in the order that is the same everywhere.
    """
    given = {row["customer_id"]: row for row in rows}
    if not given:
        return
    lock_customers(connection, given.keys())
    stored = fetch(connection, _STORED, {"customers": bulk.keys(given)})
    keys = readable(connection, keyring, [row.encrypted for row in stored])
    merged = {row.customer_id: _merged(keys, row, given[row.customer_id]) for row in stored}
    change_details(connection, [customer_row(keyring, merged[one], details_at=now, now=now) for one in sorted(merged)])


def _merged(keyring: Keyring, row: Any, given: Row) -> Customer:
    named = {name: given[name] for name in ("kind", "country", "locale", "timezone")}
    new = Customer(given["customer_id"], person=decrypt_person(keyring, row.customer_id, given["encrypted"]), **named)
    try:
        person = decrypt_person(keyring, row.customer_id, row.encrypted)
    except (Erased, CannotDecrypt):
        return new  # erased, and brought back; or by a key that the ring has no more
    filled = {name: value for name, value in vars(new.person).items() if value}
    own = {name: named[name] or getattr(row, name) for name in ("country", "locale", "timezone")}
    return replace(new, person=replace(person, **filled), **own)
