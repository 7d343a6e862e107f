"""Loads many new rows at once: an import's statements, where each value of each row counts.

PostgreSQL takes the rows of a chunk by a binary COPY, or as one array for each column. Both cost a fraction of what
`bulk`'s JSON costs for wide rows. SQLite runs one statement with a list of rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from worker.store.base import bulk
from worker.store.tables import Base

Row = Mapping[str, Any]
_ROWS = "onboarding_copied_rows"  # the execution option with the rows of a COPY
_TYPES = "onboarding_copied_types"
_POSTGRESQL: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def let_copy(engine: sa.Engine) -> None:
    """Let this engine's connections run COPY as SQLAlchemy runs every statement, with its errors."""
    event.listen(engine, "do_execute", _copy)


def _copy(cursor: Any, statement: str, _parameters: Any, context: Any) -> bool | None:
    rows = context.execution_options.get(_ROWS)
    if rows is None:
        return None
    with cursor.copy(statement) as copy:
        copy.set_types(context.execution_options[_TYPES])
        for row in rows:
            copy.write_row(row)
    return True


def load(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows. All rows have the same columns, in the same order; the database fills in the other columns."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        return bulk.add(connection, model, rows)
    columns = tuple(rows[0])
    statement, types = _copied(model, columns)
    _refuse_naive(model, columns, rows)
    values = (tuple(row.values()) for row in rows)
    connection.exec_driver_sql(statement, execution_options={_ROWS: values, _TYPES: types})
    return None


def load_missing(connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: str) -> set[Any]:
    """INSERT the rows whose `key` is not there yet, in their order. Returns the keys of the rows that were there.

    A row that another transaction is inserting is waited for.
    """
    if not rows:
        return set()
    keys = {row[key] for row in rows}
    if connection.dialect.name == "sqlite":
        # One transaction writes at a time, so no other can come in between.
        column = getattr(model, key)
        query = sa.select(column).where(bulk.among(column, "keys"))
        there = set(connection.execute(query, {"keys": bulk.keys(keys)}).scalars())
        bulk.add(connection, model, [row for row in rows if row[key] not in there])
        return there
    columns = tuple(rows[0])
    statement = f"{_from_arrays(model, columns)} ON CONFLICT ({key}) DO NOTHING RETURNING {key}"
    return keys - set(connection.exec_driver_sql(statement, _arrays(model, columns, rows)).scalars())


def load_over(
    connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: str, changed: Iterable[str]
) -> None:
    """INSERT rows in their order; a row whose `key` is there gets the new values of the columns `changed`."""
    if not rows:
        return
    columns = tuple(rows[0])
    if connection.dialect.name == "sqlite":
        each = sqlite.insert(model).values({name: sa.bindparam(name) for name in columns})
        values = {name: each.excluded[name] for name in changed}
        connection.execute(each.on_conflict_do_update(index_elements=[key], set_=values), rows)
        return
    values_sql = ", ".join(f"{name} = excluded.{name}" for name in changed)
    statement = f"{_from_arrays(model, columns)} ON CONFLICT ({key}) DO UPDATE SET {values_sql}"
    connection.exec_driver_sql(statement, _arrays(model, columns, rows))


@cache
def _copied(model: type[Base], columns: tuple[str, ...]) -> tuple[str, list[str]]:
    """The COPY statement, and the name of each column's type as psycopg knows it."""
    types = [_type(model, name).partition("(")[0].lower() for name in columns]
    return f"COPY {_table(model)} ({_named(columns)}) FROM STDIN (FORMAT BINARY)", types


@cache
def _from_arrays(model: type[Base], columns: tuple[str, ...]) -> str:
    # A function's rows come in the order of the arrays, so locks are taken in this order.
    # In binary: psycopg writes the texts of arrays slowly.
    arrays = ", ".join(f"%({name})b::{_type(model, name)}[]" for name in columns)
    return f"INSERT INTO {_table(model)} ({_named(columns)}) SELECT * FROM unnest({arrays}) AS given"  # noqa: S608


def _arrays(model: type[Base], columns: Sequence[str], rows: Sequence[Row]) -> dict[str, list[Any]]:
    _refuse_naive(model, columns, rows)
    return {name: [_plain(row[name]) for row in rows] for name in columns}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value  # psycopg would write a member's name


def _refuse_naive(model: type[Base], columns: Iterable[str], rows: Sequence[Row]) -> None:
    times = [name for name in columns if _type(model, name) == "TIMESTAMP WITH TIME ZONE"]
    if any(type(row[name]) is datetime and row[name].tzinfo is None for name in times for row in rows):
        raise ValueError("a naive datetime cannot be stored: times are aware UTC")


@cache
def _type(model: type[Base], name: str) -> str:
    return str(model.__table__.c[name].type.compile(_POSTGRESQL))


def _table(model: type[Base]) -> str:
    return _POSTGRESQL.identifier_preparer.quote(str(model.__tablename__))


def _named(columns: Sequence[str]) -> str:
    return ", ".join(map(_POSTGRESQL.identifier_preparer.quote, columns))
