"""Loads many new rows of which some may be there already: an import's statements, where each value of each row counts.

PostgreSQL takes the rows of a chunk as one array for each column, SQLite runs one statement with a list of rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from worker.store.base import binary_rows, bulk
from worker.store.base.columns import Columns, rows_of
from worker.store.tables import Base

Row = Mapping[str, Any]
SAMPLE = 32  # of a list of which one row in 20 is known, four chunks of five show it


def load_missing(connection: sa.Connection, model: type[Base], columns: Columns, *, key: str) -> set[Any]:
    """INSERT the rows whose `key` is not there yet, in their order. Returns the keys of the rows that were there.

    A row that another transaction is inserting is waited for.
    """
    if not columns[key]:
        return set()
    keys = set(columns[key])
    if connection.dialect.name == "sqlite":
        # One transaction writes at a time, so no other can come in between.
        there = _there(connection, model, keys, key=key)
        bulk.add(connection, model, [row for row in rows_of(columns) if row[key] not in there])
        return there
    if len(keys) >= bulk.COPIED and not _there(connection, model, _sample(columns[key]), key=key):
        # Most lists bring new customers alone. A COPY costs less than an INSERT that skips rows: it writes whole pages.
        try:
            with connection.begin_nested():
                bulk.add_columns(connection, model, columns)
            return set()
        except sa.exc.IntegrityError:
            pass
    statement, types = _missing(model, tuple(columns), key)
    return keys - set(connection.exec_driver_sql(statement, binary_rows.sent(types, columns)).scalars())


def load_over(
    connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: str, changed: Iterable[str]
) -> None:
    """INSERT rows in their order; a row whose `key` is there gets the new values of the columns `changed`."""
    if not rows:
        return
    columns, changed = tuple(rows[0]), tuple(changed)
    if connection.dialect.name == "sqlite":
        each = sqlite.insert(model).values({name: sa.bindparam(name) for name in columns})
        values = {name: each.excluded[name] for name in changed}
        connection.execute(each.on_conflict_do_update(index_elements=[key], set_=values), rows)
        return
    statement, types = _over(model, columns, key, changed)
    connection.exec_driver_sql(statement, binary_rows.arrays(types, rows))


def _there(connection: sa.Connection, model: type[Base], keys: Iterable[Any], *, key: str) -> set[Any]:
    column = getattr(model, key)
    query = sa.select(column).where(bulk.among(column, "keys"))
    return set(connection.execute(query, {"keys": bulk.keys(keys)}).scalars())


def _sample(keys: Sequence[Any]) -> Sequence[Any]:
    return keys[:: max(len(keys) // SAMPLE, 1)]


@cache
def _missing(model: type[Base], columns: tuple[str, ...], key: str) -> tuple[str, binary_rows.Types]:
    statement, types = bulk.insert_all(model, columns)
    there = bulk.table_of(model).c[key]
    return binary_rows.text(statement.on_conflict_do_nothing(index_elements=[there]).returning(there)), types


@cache
def _over(
    model: type[Base], columns: tuple[str, ...], key: str, changed: tuple[str, ...]
) -> tuple[str, binary_rows.Types]:
    statement, types = bulk.insert_all(model, columns)
    values = {name: statement.excluded[name] for name in changed}
    return binary_rows.text(statement.on_conflict_do_update(index_elements=[key], set_=values)), types
