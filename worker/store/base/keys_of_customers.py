"""The keys of customers: what belongs to one customer is encrypted by a key that goes when the customer does.

The keys are stored, encrypted by the ring. Before a chunk is decrypted or encrypted, its keys are read, and missing
ones made, in one statement each. The result is a ring that also has these keys.
"""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from worker.foundation.ids import new_ids
from worker.foundation.keyring import Keyring, customer_key_of, key_id_of_value
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.tables import CustomerKey, CustomerRow, Inbox


def readable(connection: sa.Connection, keyring: Keyring, values: Iterable[bytes | None]) -> Keyring:
    """The ring with the customers' keys that these values need. No query if they need none.

    A key that is not there was destroyed: `Keyring.decrypt` raises KeyGone for its values.
    """
    ids = {key_id for value in values if (key_id := customer_key_of(value)) is not None}
    if not ids:
        return keyring
    rows = fetch(connection, _BY_ID, {"ids": bulk.keys(ids)})
    return keyring.with_customers({row.id: row.wrapped for row in rows}, {})


def writable(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str], *, now: datetime) -> Keyring:
    """The ring with these customers' keys, to encrypt what is theirs. A customer without a key gets one.

    Also a customer whose key is wrapped by a key that the ring does not have: values by the old key stay as they are.
    """
    if not keyring.customer_keys or not customer_ids:
        return keyring
    rows = fetch(connection, _BY_CUSTOMER, {"customers": bulk.keys(set(customer_ids))})
    rows = [row for row in rows if keyring.knows(row.wrapped)]
    wrapped = {row.id: row.wrapped for row in rows}
    writes_by = {row.customer_id: row.id for row in rows}  # the newest comes last
    missing = sorted(set(customer_ids) - writes_by.keys())
    made: dict[str, uuid.UUID] = {}
    if missing:
        made = dict(zip(missing, new_ids(now, len(missing)), strict=True))
        new = [
            {"id": key_id, "customer_id": customer_id, "wrapped": keyring.new_customer_key(key_id)}
            for customer_id, key_id in made.items()
        ]
        bulk.add(connection, CustomerKey, new)
        wrapped |= {row["id"]: row["wrapped"] for row in new}
        writes_by |= made
    return keyring.with_customers(wrapped, writes_by, made=made.values())


def key_needed(connection: sa.Connection, encrypted: bytes) -> str:
    """The id of the ring's key that a value needs, itself or for its customer's key; empty: that key is gone."""
    if customer_key_of(encrypted) is None:
        return key_id_of_value(encrypted)
    rows = fetch(connection, _BY_ID, {"ids": bulk.keys([customer_key_of(encrypted)])})
    return key_id_of_value(rows[0].wrapped) if rows else ""


def any_there(connection: sa.Connection) -> bool:
    """True if there is any customer's key."""
    return connection.execute(sa.select(CustomerKey.id).limit(1)).first() is not None


def lasting(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str], *, now: datetime) -> Keyring:
    """As `writable`; the keys stay until the transaction ends. The customers' rows must be locked."""
    while True:
        more = writable(connection, keyring, customer_ids, now=now)
        if kept(connection, more):
            return more


def kept(connection: sa.Connection, keyring: Keyring) -> bool:
    """True if all keys that were found are still there; they stay until the transaction ends.

    Ask this once the customers' rows are locked: until then an erasure may have destroyed a key that was read.
    """
    ids = keyring.found_key_ids
    if not ids:
        return True
    return len(fetch(connection, _STAY, {"ids": bulk.keys(ids)})) == len(ids)


def of_events(connection: sa.Connection, keyring: Keyring, ids: Collection[uuid.UUID]) -> Keyring:
    """The ring with a key of its own for each of these refused events, named by the hex digits of its id.

    The keys stay until the transaction ends: `destroy_of_events` waits for it. A key that is wrapped by a key that the
    ring does not have is replaced: these events are written anew, whole.
    """
    if not keyring.customer_keys or not ids:
        return keyring
    new = [{"id": id_, "customer_id": None, "wrapped": keyring.new_customer_key(id_)} for id_ in sorted(ids)]
    bulk.add_new(connection, CustomerKey, new)
    rows = fetch(connection, _STAY, {"ids": bulk.keys(ids)})
    if lost := [row.id for row in rows if not keyring.knows(row.wrapped)]:
        fetch(connection, _TO_CHANGE, {"ids": bulk.keys(lost)})  # in their order: no deadlock with another consumer
        _REPLACE.run(connection, [{"key": row["id"], "wrapped": row["wrapped"]} for row in new if row["id"] in lost])
        rows = fetch(connection, _STAY, {"ids": bulk.keys(ids)})
    return keyring.with_customers({row.id: row.wrapped for row in rows}, {row.id.hex: row.id for row in rows})


def lock_of_events(connection: sa.Connection, ids: Collection[uuid.UUID]) -> None:
    """Lock the keys of these refused events, before the events themselves: as `of_events` does."""
    fetch(connection, _LOCKED, {"ids": bulk.keys(ids)})


def destroy_of_events(connection: sa.Connection, ids: Collection[uuid.UUID]) -> None:
    if ids:
        connection.execute(_DESTROY, {"ids": bulk.keys(ids)})


def destroy_unused(connection: sa.Connection, customer_ids: Collection[str]) -> int:
    """Destroy the keys of those of these customers who have neither personal data nor a stored update.

    Returns how many. Their rows of lists and sessions must be erased.
    """
    if not customer_ids:
        return 0
    given = {"customers": bulk.keys(set(customer_ids))}
    # Locked first: what a transaction stores meanwhile by such a key is then seen by the next statement.
    ids = [row.id for row in fetch(connection, _OF_CUSTOMERS, given)]
    if not ids:
        return 0
    return connection.execute(_DESTROY_UNUSED, {"ids": bulk.keys(ids)}).rowcount


_KEYS = (CustomerKey.id, CustomerKey.customer_id, CustomerKey.wrapped)
_BY_ID = sa.select(*_KEYS).where(bulk.among(CustomerKey.id, "ids"))
_STAY = _BY_ID.order_by(CustomerKey.id).with_for_update(read=True, key_share=True)
_LOCKED = _BY_ID.order_by(CustomerKey.id).with_for_update()
_TO_CHANGE = _BY_ID.order_by(CustomerKey.id).with_for_update(key_share=True)
_REPLACE = bulk.Change(CustomerKey.id, {"wrapped": sa.bindparam("wrapped")}, by="key")
_BY_CUSTOMER = sa.select(*_KEYS).where(bulk.among(CustomerKey.customer_id, "customers")).order_by(CustomerKey.id)
_OF_CUSTOMERS = _BY_CUSTOMER.with_for_update()
_DESTROY = sa.delete(CustomerKey).where(bulk.among(CustomerKey.id, "ids"))
_PERSON = sa.exists().where(CustomerRow.customer_id == CustomerKey.customer_id, CustomerRow.encrypted.is_not(None))
_UPDATE = sa.exists().where(
    Inbox.customer_id == CustomerKey.customer_id, Inbox.encrypted.is_not(None), sa.func.length(Inbox.encrypted) > 0
)
_DESTROY_UNUSED = _DESTROY.where(~_PERSON, ~_UPDATE)
