"""Remembers who was erased on request, by keyed hashes of their ids: no list and no event brings them back unasked."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.base.encrypted_values import CUSTOMER
from worker.store.base.upserts import insert
from worker.store.tables import Tombstone

BY_EVENT = "the customer was erased on request: only `onboard import --allow-erased` brings the customer back"


@dataclass(frozen=True)
class Erased:
    """When a customer was erased, and whether events cannot undo that."""

    at: datetime
    final: bool


def bury(connection: sa.Connection, keyring: Keyring, customer_id: str, at: datetime, *, final: bool) -> None:
    """Remember that this customer was erased. What is final stays final, and keeps the time of the first erasure.

    Of two erasures by events the later one counts: an event from between them must not bring the customer back.
    """
    digest = keyring.digests(CUSTOMER, customer_id)[0]
    new = insert(Tombstone, connection.dialect.name)
    is_final = sa.or_(Tombstone.final, new.excluded.final)
    kept = {
        "erased_at": sa.case((is_final, Tombstone.erased_at), else_=new.excluded.erased_at),
        "final": is_final,
    }
    statement = new.on_conflict_do_update(index_elements=["digest"], set_=kept)
    connection.execute(statement, {"digest": digest, "erased_at": at, "final": final})


_FOUND = sa.select(Tombstone.digest, Tombstone.erased_at, Tombstone.final).where(
    bulk.among(Tombstone.digest, "digests")
)
_ANY = sa.select(sa.exists(sa.select(Tombstone.digest)))


def erased_among(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Mapping[str, Erased]:
    """Those of these customers who were erased on request."""
    # Most databases have none: then nothing is hashed.
    if not customer_ids or not connection.execute(_ANY).scalar_one():
        return {}
    by_digest = {digest: one for one in customer_ids for digest in keyring.digests(CUSTOMER, one)}
    rows = fetch(connection, _FOUND, {"digests": bulk.keys(by_digest)})
    return {by_digest[row.digest]: Erased(row.erased_at, row.final) for row in rows}


def bring_back(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> None:
    """Forget that these customers were erased."""
    digests = [digest for one in customer_ids for digest in keyring.digests(CUSTOMER, one)]
    gone = sa.delete(Tombstone).where(bulk.among(Tombstone.digest, "digests"))
    connection.execute(gone, {"digests": bulk.keys(digests)})
