"""Encrypts values again by the first key, and hashes again by the first digest key, in chunks while workers run.

What is done is seen in the values themselves. So it may be cut off at any moment, and begins again anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.foundation.keyring import CannotDecrypt, Keyring, key_id_of
from worker.store.base import bulk
from worker.store.base.database import Database, fetch, outlive_deadlocks
from worker.store.base.encrypted_columns import ADDRESSES, ENCRYPTED, EncryptedColumn
from worker.store.messages.suppressions import hash_anew

LOOK = 5000  # rows that one look goes through
MOST = 200  # rows that one transaction changes: it holds their locks for some milliseconds


@dataclass(frozen=True)
class RotatedChunk:
    """One chunk of a column. `after`: where the next chunk begins; None: the column's end was reached.

    `busy` rows were locked by another transaction: they are for the next time. `unreadable`: no key of the ring
    decrypts them, or they were changed.
    """

    after: Any
    changed: int = 0
    busy: int = 0
    unreadable: int = 0


class KeyRotation:
    columns = ENCRYPTED

    def __init__(self, database: Database, keyring: Keyring, *, look: int = LOOK, most: int = MOST) -> None:
        self._database, self._keyring, self._look, self._most = database, keyring, look, most

    def chunk(self, column: EncryptedColumn, after: Any = None) -> RotatedChunk:
        """Look at the next rows, and change those that are not by the first keys, at most MOST of them."""
        digest = column.digest if column.digest is not None else sa.null()
        look = sa.select(column.id.label("id"), column.start.label("start"), digest.label("digest"))
        if after is not None:
            look = look.where(column.id > after)
        with self._database.read() as connection:
            rows = fetch(connection, look.order_by(column.id).limit(self._look))
        old = [row.id for row in rows if self._is_old(row)]
        if len(old) > self._most:
            old = old[: self._most]
            after = old[-1]
        else:
            after = rows[-1].id if len(rows) == self._look else None
        if not old:
            return RotatedChunk(after)
        changed, unreadable = outlive_deadlocks(partial(self._change, column, old))
        return RotatedChunk(after, changed, len(old) - changed - unreadable, unreadable)

    def _is_old(self, row: Any) -> bool:
        """True for a value, or a digest of it, that is not by the first key."""
        old_digest = row.digest is not None and key_id_of(row.digest) != self._keyring.digest_ids[0]
        return old_digest or bool(row.start and not self._keyring.is_current(bytes(row.start)))

    def _change(self, column: EncryptedColumn, ids: Sequence[Any]) -> tuple[int, int]:
        """How many of these rows were changed, and how many are unreadable. The others are locked, or gone."""
        with self._database.write() as connection:
            if column is ADDRESSES:
                return hash_anew(connection, self._keyring, ids)
            digest = column.digest if column.digest is not None else sa.null()
            query = sa.select(
                column.id.label("id"), column.value.label("value"), digest.label("digest"), *column.named_by
            )
            # Rows that point to these may be written meanwhile (key_share). Nothing here waits for another transaction.
            query = query.where(column.id.in_(ids)).order_by(column.id)
            rows = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).all()
            changes, unreadable = [], 0
            for id_, value, was, *names in rows:
                try:
                    changes.append({"id_": id_} | self._again(column, value, was, names))
                except CannotDecrypt:
                    unreadable += 1
            _CHANGES[column.name].run(connection, changes)
            return len(changes), unreadable

    def _again(self, column: EncryptedColumn, value: bytes | None, was: str | None, names: list[Any]) -> dict[str, Any]:
        """The row's new columns. Raises keyring.CannotDecrypt. Of an erased value no digest can be made again."""
        digest = None
        if value:
            context = column.context(*names)
            kept = self._keyring.decrypt(value, context=context)
            value = self._keyring.encrypt(kept, context=context)
            if was is not None:
                digest = self._keyring.digests(column.purpose, kept[column.text])[0]
        return {"new_value": value} | ({"new_digest": digest} if column.digest is not None else {})


def _change_of(column: EncryptedColumn) -> bulk.Change:
    values: dict[str, Any] = {column.value.key: sa.bindparam("new_value")}
    if column.digest is not None:
        values[column.digest.key] = sa.bindparam("new_digest")
    return bulk.Change(column.id, values, by="id_")


_CHANGES: Mapping[str, bulk.Change] = {
    column.name: _change_of(column) for column in ENCRYPTED if column is not ADDRESSES
}
