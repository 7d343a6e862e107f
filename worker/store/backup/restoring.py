"""Makes a database of a backup. Nothing is sent from it until a person goes on: everything is stopped."""

import os
import shutil
import uuid
from datetime import datetime
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa

from worker.domain.events.ordering import EarlierEvents
from worker.domain.model.audit import REASON, printable
from worker.foundation.keyring import Keyring, customer_key_of
from worker.foundation.os_user import os_user
from worker.foundation.private_files import new_file
from worker.store.audit.entries import note
from worker.store.backup.customer_key_file import load_keys
from worker.store.backup.data_copy import LIVING, SQLITE_FILE
from worker.store.backup.manifest import Manifest
from worker.store.base import schema
from worker.store.base.database import Database, fetch
from worker.store.base.keys_of_customers import readable
from worker.store.inbox.customer_erasure import erase_customer
from worker.store.inbox.refused_events import remove_of_erased
from worker.store.onboarding.tombstones import Erased, Erasures, erased_among, erasures
from worker.store.tables import Base, CustomerRow, Inbox, Standstill

CHUNK = 500
SINCE = "erased since the backup"
# A database that was only made and migrated has rows in these.
_NOTHING_YET = frozenset({"audit", "audit_head", "budget", "timer", *LIVING})


def put_sqlite_in_place(folder: Path, target: Path) -> None:
    """Copy the data to a new file. Raises FileExistsError, OSError."""
    with os.fdopen(new_file(target), "wb") as to, (folder / SQLITE_FILE).open("rb") as data:
        shutil.copyfileobj(data, to)
        to.flush()
        os.fsync(to.fileno())


def has_rows(database: Database) -> bool:
    """True if the database is in use already. Its schema may be another release's."""
    if schema.current(database) is None:
        return False
    with database.read() as connection:
        there = set(sa.inspect(connection).get_table_names())
        return any(
            connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
            for table in Base.metadata.sorted_tables
            if table.name in there - _NOTHING_YET
        )


def load(
    database: Database, folder: Path, manifest: Manifest, keys: TextIO | None, *, now: datetime
) -> tuple[int, str, Erasures]:
    """Load the data and the customers' keys, and stop everything, in one transaction; then upgrade the schema.

    PostgreSQL must have no rows; SQLite has the data in its place. Returns how many keys were loaded, why
    everything is stopped, and the erasures that the data itself knows, which were carried out in it.
    """
    if not database.is_sqlite:
        schema.upgrade(database, manifest.migration)
    reason = printable(f"restored from the backup of {manifest.written_at}: what was sent since is not known", REASON)
    with database.write() as connection:
        if not database.is_sqlite:
            _load_postgresql(connection, folder, manifest)
        for table in LIVING:
            connection.execute(sa.delete(Base.metadata.tables[table]))
        done = erasures(connection)
        number = load_keys(keys, connection) if keys is not None else 0
        connection.execute(sa.delete(Standstill))
        stop = {"id": 1, "at": now, "by": os_user().name, "reason": reason}
        connection.execute(sa.insert(Standstill).values(stop))
        note(connection, "everything", now=now, count=sum(one.rows for one in manifest.tables.values()), reason=reason)
    schema.upgrade(database)
    return number, reason, done


def _load_postgresql(connection: sa.Connection, folder: Path, manifest: Manifest) -> None:
    quoted = connection.dialect.identifier_preparer.quote
    # Not the triggers of foreign keys. Ours count rows, and keep the audit log as it is: the rows are counted already.
    for name in manifest.tables:
        connection.exec_driver_sql(f"ALTER TABLE {quoted(name)} DISABLE TRIGGER USER")
    for name in reversed(list(manifest.tables)):
        connection.exec_driver_sql(f"DELETE FROM {quoted(name)}")  # noqa: S608 -- what a migration adds
    cursor = connection.connection.cursor()
    for name, table in manifest.tables.items():
        statement = f"COPY {quoted(name)} ({', '.join(map(quoted, table.columns))}) FROM STDIN"
        with (folder / f"{name}.copy").open("rb") as stream, cursor.copy(statement) as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
    for name, number in manifest.numbers.items():
        sequence = sa.func.pg_get_serial_sequence(name, "id")
        connection.execute(sa.select(sa.func.setval(sequence, number)))
    for name in manifest.tables:
        connection.exec_driver_sql(f"ALTER TABLE {quoted(name)} ENABLE TRIGGER USER")


def erase_again(database: Database, keyring: Keyring, done: Erasures, *, now: datetime) -> int:
    """Erase the customers who were erased since the backup: a key is gone, or the file of keys remembers them.

    Returns how many. Refused events about them are removed too, but for those from after an erasure by an event that is
    among `done`.
    """
    number = _erase_known(database, keyring, now=now) + _erase_of_events(database, keyring, now=now)
    _remove_refused(database, keyring, done, now=now)
    return number


def _erase_known(database: Database, keyring: Keyring, *, now: datetime) -> int:
    number, after = 0, ""
    while True:
        with database.write() as connection:
            some = sa.select(CustomerRow.customer_id, CustomerRow.encrypted).where(
                CustomerRow.encrypted.is_not(None), CustomerRow.customer_id > after
            )
            rows = fetch(connection, some.order_by(CustomerRow.customer_id).limit(CHUNK).with_for_update())
            if not rows:
                return number
            buried = erased_among(connection, keyring, [row.customer_id for row in rows])
            there = readable(connection, keyring, [row.encrypted for row in rows]).found_key_ids
            for row in rows:
                key_id, tombstone = customer_key_of(row.encrypted), buried.get(row.customer_id)
                if tombstone is None and (key_id is None or key_id in there):
                    continue
                _erase(connection, keyring, row.customer_id, tombstone, now=now)
                number += 1
            after = rows[-1].customer_id


def _erase_of_events(database: Database, keyring: Keyring, *, now: datetime) -> int:
    """Erase who is known only from updates: the inbox keeps them until the customer is requested."""
    number, after = 0, ""
    first = sa.func.min(Inbox.occurred_at, type_=Inbox.occurred_at.type).label("first")
    stored = sa.select(Inbox.customer_id, first).where(sa.func.length(Inbox.encrypted) > 0).group_by(Inbox.customer_id)
    while True:
        with database.write() as connection:
            some = stored.where(Inbox.customer_id > after).order_by(Inbox.customer_id).limit(CHUNK)
            rows = fetch(connection, some)
            if not rows:
                return number
            buried = erased_among(connection, keyring, [row.customer_id for row in rows])
            for row in rows:
                tombstone = buried.get(row.customer_id)
                if tombstone is None:
                    continue
                if row.first <= _until(tombstone, now=now):
                    _erase(connection, keyring, row.customer_id, tombstone, now=now)
                    number += 1
            after = rows[-1].customer_id


def _remove_refused(database: Database, keyring: Keyring, done: Erasures, *, now: datetime) -> None:
    after: uuid.UUID | None = None
    while True:
        with database.write() as connection:
            after, removed = remove_of_erased(connection, keyring, done, after=after)
            if removed:
                note(connection, "dead events", now=now, count=removed, reason=SINCE)
        if after is None:
            return


def _erase(
    connection: sa.Connection,
    keyring: Keyring,
    customer_id: str,
    tombstone: Erased | None,
    *,
    now: datetime,
) -> None:
    at = _until(tombstone, now=now)
    final, remembered = tombstone is not None and tombstone.final, tombstone is not None
    erase_customer(connection, keyring, customer_id, at, EarlierEvents(), final=final, remembered=remembered, now=now)
    note(connection, f"customer {customer_id}", now=now, reason=SINCE)


def _until(tombstone: Erased | None, *, now: datetime) -> datetime:
    """As of when to erase: what came from after an erasure by an event was stored rightly, and a request counts."""
    return now if tombstone is None or tombstone.final else tombstone.at
