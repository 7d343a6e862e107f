"""Copies all data of one moment into a folder, while workers run, and the keys of customers into a stream.

SQLite: the file, made by `VACUUM INTO`, without the customers' keys. PostgreSQL: one file for each table, made by COPY
in one read-only transaction. `pg_dump` is not used: it must be as new as the server, and an image of the worker has
none; COPY needs nothing else, and the schema comes from the migrations.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa

from worker.foundation.private_files import new_file, to_disk
from worker.store.backup import manifest
from worker.store.backup.customer_key_file import write_keys
from worker.store.backup.manifest import Manifest, Table
from worker.store.base import bulk, schema
from worker.store.base.database import Database
from worker.store.base.outages import naming_outages
from worker.store.tables import Base, CustomerKey

SQLITE_FILE = "data.db"
KEYS = bulk.table_of(CustomerKey).name
# Which processes ran, and which calls they may have had in flight, is nothing to restore.
LIVING = ("process", "permit")


class CannotCopy(Exception):
    """The data cannot be copied. The text is the database's, and holds no values."""


def copy_data(
    database: Database, folder: Path, keys: TextIO, *, encrypted_by: tuple[str, ...], now: datetime
) -> Manifest:
    """Copy all data into the folder, which is new, and the customers' keys to `keys`.

    The manifest is returned and not written yet. Raises CannotCopy, OSError, sqlalchemy.exc.OperationalError.
    """
    copy = _sqlite if database.is_sqlite else _postgresql
    tables, numbers, number = copy(database, folder, keys, encrypted_by, now)
    files = {path.name: manifest.sha256_of(path) for path in sorted(folder.iterdir())}
    for name in files:
        to_disk(folder / name)
    return Manifest(
        database="sqlite" if database.is_sqlite else "postgresql",
        migration=schema.newest(),
        at=manifest.at(now),
        tables=tables,
        files=files,
        encrypted_by=encrypted_by,
        customer_keys=number,
        numbers=numbers,
    )


_Copied = tuple[dict[str, Table], dict[str, int], int]


def _sqlite(database: Database, folder: Path, keys: TextIO, ids: tuple[str, ...], now: datetime) -> _Copied:
    target = folder / SQLITE_FILE
    os.close(new_file(target))
    with _in_words(), closing(database.engine.raw_connection()) as living:  # not within a transaction
        living.cursor().execute("VACUUM INTO ?", (str(target),))
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(target), poolclass=sa.NullPool)
    with _in_words(), engine.connect() as copied:
        number = write_keys(keys, copied, ids=ids, at=manifest.at(now))
        tables = {
            table.name: Table(copied.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for table in Base.metadata.sorted_tables
        }
    with _in_words(), closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # Overwritten in the file, and in no other file.
        copy.execute("PRAGMA secure_delete=ON")
        copy.execute("PRAGMA journal_mode=MEMORY")
        copy.execute(f"DELETE FROM {KEYS}")  # noqa: S608 -- a name of ours
    return tables | {KEYS: Table(0)}, {}, number


def _postgresql(database: Database, folder: Path, keys: TextIO, ids: tuple[str, ...], now: datetime) -> _Copied:
    tables: dict[str, Table] = {}
    one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with naming_outages(), database.engine.connect().execution_options(**one_moment) as connection, connection.begin():
        cursor = connection.connection.cursor()
        quoted = connection.dialect.identifier_preparer.quote
        for table in Base.metadata.sorted_tables:
            if table.name == KEYS:
                continue
            columns = tuple(column.name for column in table.columns)
            statement = f"COPY {quoted(table.name)} ({', '.join(map(quoted, columns))}) TO STDOUT"
            with (
                os.fdopen(new_file(folder / f"{table.name}.copy"), "wb") as stream,
                cursor.copy(statement) as copy,
            ):
                for block in copy:
                    stream.write(block)
            tables[table.name] = Table(cursor.rowcount, columns)
        numbers = {name: _last_number(connection, name) for name in tables if _sequence(connection, name)}
        number = write_keys(keys, connection, ids=ids, at=manifest.at(now))
    return tables, numbers, number


def _sequence(connection: sa.Connection, table: str) -> str | None:
    """PostgreSQL's sequence of the table's numbers, quoted; None: it has none."""
    if "id" not in Base.metadata.tables[table].columns:
        return None
    return connection.execute(sa.select(sa.func.pg_get_serial_sequence(table, "id"))).scalar()


def _last_number(connection: sa.Connection, table: str) -> int:
    sequence = _sequence(connection, table)
    number: int = connection.exec_driver_sql(f"SELECT last_value FROM {sequence}").scalar_one()  # noqa: S608 -- PostgreSQL quotes it
    return number


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sa.exc.DatabaseError) as error:
        why = error.orig if isinstance(error, sa.exc.DatabaseError) else error
        raise CannotCopy(str(why)) from None
