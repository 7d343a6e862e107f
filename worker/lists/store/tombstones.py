"""Remembers who was erased on request, by keyed hashes of their ids: no list and no event brings them back unasked."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import CUSTOMER
from worker.core.database.journal import Happened, Note, note
from worker.core.database.tables import Tombstone
from worker.core.foundation.keyring import Keyring

BY_EVENT = "the customer was erased on request: only `onboard import --allow-erased` brings the customer back"


class Erasure(NamedTuple):
    """When a customer was erased, and whether events cannot undo that."""

    at: datetime
    final: bool


def bury(connection: sa.Connection, keyring: Keyring, customer_id: str, at: datetime, *, final: bool) -> None:
    """Remember that this customer was erased. What is final stays final, and keeps the time of the first erasure.

    Of two erasures by events the later one counts: an event from between them must not bring the customer back.
    """
    digest = keyring.digests(CUSTOMER, customer_id)[0]
    note(connection, Happened.ERASED, [digest], as_of=at, final=final)
    _bury(connection, [{"digest": digest, "erased_at": at, "final": final}])


def bury_again(connection: sa.Connection, noted: Sequence[Note]) -> list[str]:
    """Remember who was erased as a journal has noted; returns the digests of those who were not known as erased."""
    if not noted:
        return []
    digests = [one.digest for one in noted]
    known = {row.digest for row in fetch(connection, _FOUND, {"digests": bulk.keys(digests)})}
    _bury(connection, [{"digest": one.digest, "erased_at": one.as_of, "final": one.final} for one in noted])
    return [digest for digest in digests if digest not in known]


def _bury(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    new = bulk.insert(Tombstone, connection.dialect.name)
    is_final = sa.or_(Tombstone.final, new.excluded.final)
    kept = {
        "erased_at": sa.case((is_final, Tombstone.erased_at), else_=new.excluded.erased_at),
        "final": is_final,
    }
    statement = new.on_conflict_do_update(index_elements=["digest"], set_=kept)
    connection.execute(statement, rows)


_FOUND = sa.select(Tombstone.digest, Tombstone.erased_at, Tombstone.final).where(
    bulk.among(Tombstone.digest, "digests")
)
_ANY = sa.select(sa.exists(sa.select(Tombstone.digest)))


def erased_among(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Mapping[str, Erasure]:
    # Most databases have none: then nothing is hashed.
    if not customer_ids or not connection.execute(_ANY).scalar_one():
        return {}
    by_digest = {digest: one for one in customer_ids for digest in keyring.digests(CUSTOMER, one)}
    rows = fetch(connection, _FOUND, {"digests": bulk.keys(by_digest)})
    return {by_digest[row.digest]: Erasure(row.erased_at, row.final) for row in rows}


def bring_back(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> None:
    digests = [digest for one in customer_ids for digest in keyring.digests(CUSTOMER, one)]
    gone = sa.delete(Tombstone).where(bulk.among(Tombstone.digest, "digests"))
    connection.execute(gone, {"digests": bulk.keys(digests)})
    note(connection, Happened.BROUGHT_BACK, digests)
