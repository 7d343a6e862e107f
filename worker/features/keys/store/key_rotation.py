"""Encrypts values again by the first key, and hashes again by the first digest key, in chunks while workers run; and
says which keys the stored values need. What is done is seen in the values themselves. So it may be cut off at any
moment, and begins again anywhere."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import RetiredKey
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring, key_id_of
from onboarding_worker.core.rows.suppressions import hash_anew
from onboarding_worker.core.rows.verdicts import sign_anew
from onboarding_worker.reporting.store.processes import Processes, Running
from onboarding_worker.wiring.store.encrypted_columns import (
    ADDRESSES,
    DIGESTS,
    ENCRYPTED,
    VERDICTS,
    EncryptedColumn,
    Uses,
    uses_of_digest_keys,
    uses_of_keys,
)

LOOK = 5000  # rows that one look goes through
MOST = 200  # rows that one transaction changes: it holds their locks for some milliseconds


@dataclass(frozen=True)
class Rotated:
    """A column so far, or one chunk of it. `after`: where the next chunk begins; None: the column's end was reached.
    `busy` rows were locked by another transaction: they are for the next time. `unreadable`: no key of the ring
    decrypts them, or they were changed."""

    after: Any
    changed: int = 0
    busy: int = 0
    unreadable: int = 0

    def with_(self, next_: "Rotated") -> "Rotated":
        """Both together."""
        busy, unreadable = self.busy + next_.busy, self.unreadable + next_.unreadable
        return Rotated(next_.after, self.changed + next_.changed, busy, unreadable)


class KeyRotation:
    columns = (*ENCRYPTED, VERDICTS)

    def __init__(self, database: Database, keyring: Keyring, *, look: int = LOOK, most: int = MOST) -> None:
        self._database, self._keyring, self._look, self._most = database, keyring, look, most

    def chunk(self, column: EncryptedColumn, after: Any = None, *, now: datetime) -> Rotated:
        """Look at the next rows, and change those that are not by the first keys, at most MOST of them."""
        look = sa.select(column.id.label("id"), column.start.label("start"), *(one.column for one in column.hashed))
        if after is not None:
            look = look.where(column.id > after)
        rows = self._database.rows(look.order_by(column.id).limit(self._look))
        old = [row[0] for row in rows if self._is_old(column, row[1], row[2:])]
        if len(old) > self._most:
            old = old[: self._most]
            after = old[-1]
        else:
            after = rows[-1][0] if len(rows) == self._look else None
        if not old:
            return Rotated(after)
        changed, unreadable = outlive_deadlocks(partial(self._change, column, old, now=now))
        return Rotated(after, changed, len(old) - changed - unreadable, unreadable)

    def _is_old(self, column: EncryptedColumn, start: bytes | None, digests: Sequence[str | None]) -> bool:
        """True for a value, or a digest of it, that is not by the first key."""
        if any(key_id_of(one) != self._keyring.digest_ids[0] for one in digests if one):
            return True
        return column is not VERDICTS and bool(start) and not self._keyring.is_current(bytes(start or b""))

    def _change(self, column: EncryptedColumn, ids: Sequence[Any], *, now: datetime) -> tuple[int, int]:
        """How many of these rows were changed, and how many are unreadable. The others are locked, or gone."""
        with self._database.write() as connection:
            if column is ADDRESSES:
                return hash_anew(connection, self._keyring, ids)
            if column is VERDICTS:
                return sign_anew(connection, self._keyring, ids)
            digests = len(column.hashed)
            columns = (column.id.label("id"), column.value.label("value"), *(one.column for one in column.hashed))
            query = sa.select(*columns, *column.named_by)
            # Rows that point to these may be written meanwhile (key_share). Nothing here waits for another transaction.
            query = query.where(column.id.in_(ids)).order_by(column.id)
            rows = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).all()
            changes, unreadable = [], 0
            for id_, value, *more in rows:
                try:
                    again = _again(self._keyring, column, value, more[:digests], more[digests:])
                    changes.append({"id_": id_} | again)
                except CannotDecrypt:
                    unreadable += 1
            _drop_doubles(connection, column, changes)
            _CHANGES[column.name].run(connection, changes)
            return len(changes), unreadable


def _drop_doubles(connection: sa.Connection, column: EncryptedColumn, changes: Sequence[dict[str, Any]]) -> None:
    """Leave out digests that another row has by the first key: a process without that key could not recognise them."""
    for one in column.hashed:
        name = f"new_{one.column.key}"
        given = {change[name]: change["id_"] for change in changes if change[name] is not None} if one.once else {}
        taken = sa.select(column.id, one.column).where(one.column.in_(given))
        others = {digest for id_, digest in connection.execute(taken) if id_ != given[digest]} if given else set()
        for change in changes:
            if change[name] in others:
                change[name] = None


def _again(
    keyring: Keyring, column: EncryptedColumn, value: bytes | None, digests: list[str | None], names: list[Any]
) -> dict[str, Any]:
    """The row's new columns. Raises keyring.CannotDecrypt. Of an erased value no digest can be made again."""
    again: dict[str, Any] = {"new_value": value} | {f"new_{one.column.key}": None for one in column.hashed}
    if value:
        context = column.context(*names)
        kept = keyring.decrypt(value, context=context)
        again["new_value"] = keyring.encrypt(kept, context=context)
        for one, was in zip(column.hashed, digests, strict=True):
            if was is not None:
                again[f"new_{one.column.key}"] = keyring.digests(one.purpose, one.text(kept))[0]
    return again


def _change_of(column: EncryptedColumn) -> bulk.Change:
    hashed = bulk.new(*(one.column.key for one in column.hashed))
    return bulk.Change(column.id, {column.value.key: sa.bindparam("new_value"), **hashed}, by="id_")


_CHANGES = {column.name: _change_of(column) for column in ENCRYPTED if column is not ADDRESSES}


@dataclass(frozen=True)
class Needs:
    """What needs a key: values and digests by what they are of, and processes that encrypt or hash with it."""

    values: Mapping[str, int]
    digests: Mapping[str, int]
    processes: Collection[Running]


class KeyUse:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def uses(self) -> tuple[Uses, Uses]:
        """How many encrypted values, and how many digests, need each key. Reads every row, and locks none."""
        with self._database.read() as connection:
            return uses_of_keys(connection), uses_of_digest_keys(connection)

    def to_change(self) -> dict[str, int]:
        """How many rows of each column are not by the first keys, and so are for a rotation. Reads every row."""
        values, digests = self.uses()
        hashed = {id(column.digest): column.name for column in DIGESTS}
        first, first_digest = self._keyring.ids[0], self._keyring.digest_ids[0]
        return {
            column.name: max(
                _by_others(values, column.name, first),
                *(_by_others(digests, hashed[id(one.column)], first_digest) for one in column.hashed),
                0,
            )
            for column in KeyRotation.columns
        }

    def needs(self, key_id: str, *, now: datetime) -> Needs:
        """What needs this key. A digest key that is derived from it counts as the key itself. The processes are read
        first: what a process has written before it ended is among the values."""
        derived = dict(zip(self._keyring.ids, self._keyring.digest_ids, strict=False))
        digest_id = derived.get(key_id, key_id) if self._keyring.derives_digest_keys else key_id
        running = Processes(self._database).running(now=now)
        values, digests = self.uses()
        using = [one for one in running if not {key_id, digest_id}.isdisjoint(one.first_keys.split())]
        return Needs(values.get(key_id, {}), digests.get(digest_id, {}), using)

    def retire(self, key_id: str, *, now: datetime) -> None:
        """From now on no process that encrypts or hashes with this key starts."""
        with self._database.write() as connection:
            new = bulk.insert(RetiredKey, connection.dialect.name).values(key_id=key_id, at=now)
            retired = new.on_conflict_do_nothing().returning(RetiredKey.key_id)
            if connection.execute(retired).first() is not None:
                note(connection, f"key {key_id}", now=now, reason="retired")

    def take_back(self, key_id: str, *, now: datetime) -> None:
        """The key is not retired."""
        with self._database.write() as connection:
            connection.execute(sa.delete(RetiredKey).where(RetiredKey.key_id == key_id))
            note(connection, f"key {key_id}", now=now, reason="not retired: it is needed")


def _by_others(uses: Uses, name: str, good: str) -> int:
    """How many of a column's values, or digests, are by another key than this one."""
    return sum(counts.get(name, 0) for key_id, counts in uses.items() if key_id != good)
