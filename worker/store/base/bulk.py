"""Statements over a chunk of rows, in the form that each database needs.

A statement is written for one row, with a bound parameter for each value. SQLite runs this statement with a list of
rows. PostgreSQL runs one statement over all rows, which are one parameter: a JSON array. The statement's text does not
depend on the number of rows, so PostgreSQL plans it once and it takes one round trip. A parameter for each value of
each row cost more than all other work for the row.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import visitors

from worker.store.tables import Base

Row = Mapping[str, Any]


class Change:
    """An UPDATE of rows by their ids. The chunk's rows hold the parameters that the UPDATE binds by name."""

    def __init__(self, id_: InstrumentedAttribute[Any], values: Mapping[str, Any], *conditions: Any, by: str) -> None:
        """`values` maps columns to new values. `by` is the name of the id in the chunk's rows."""
        self.columns = frozenset(values)
        table = id_.class_.__table__
        self._each = sa.update(table).where(id_ == sa.bindparam(by), *conditions).values(**values)
        types = {by: id_.type}
        for name, value in values.items():
            types |= {parameter: table.c[name].type for parameter in _named(value)}
        given = _given(types)
        at_once = {name: _read_from(given, value) for name, value in values.items()}
        self._all = sa.update(table).where(id_ == given.c[by], *conditions).values(**at_once)

    def run(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        _run(connection, self._each, self._all, rows)


def add(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows. All rows have the same columns."""
    if rows:
        _run(connection, *_insert(model, tuple(rows[0])), rows)


def add_new(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows as `add` does. A row that conflicts with an existing row, by any unique key, is skipped."""
    if rows:
        _run(connection, *_insert_new(model, tuple(rows[0]), connection.dialect.name), rows)


def put(
    connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: tuple[str, ...], version: str
) -> set[tuple[Any, ...]]:
    """INSERT rows, or overwrite the rows of the same `key` that no other transaction has written since they were read.

    A row's `version` is one more than the version that was read, or 1. Returns the keys of the rows that were written.
    """
    if not rows:
        return set()
    each, at_once = _put(model, tuple(rows[0]), key, version, connection.dialect.name)
    if connection.dialect.name == "sqlite":
        connection.execute(each, rows)  # one transaction writes at a time, so none can have come between
        return {tuple(row[name] for name in key) for row in rows}
    return {tuple(row) for row in connection.execute(at_once, {"chunk": _json(rows)})}


@cache
def _put(
    model: type[Base], columns: tuple[str, ...], key: tuple[str, ...], version: str, dialect: str
) -> tuple[sa.Executable, sa.Executable]:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: each of our models has a table
    given = _given({name: table.c[name].type for name in columns})
    each = insert(table).values({name: sa.bindparam(name) for name in columns})
    at_once = insert(table).from_select(list(columns), sa.select(given), include_defaults=False)

    def overwriting(statement: Any) -> Any:
        new = statement.excluded
        return statement.on_conflict_do_update(
            index_elements=[table.c[name] for name in key],
            set_={name: new[name] for name in columns if name not in key},
            where=table.c[version] == new[version] - 1,
        )

    return overwriting(each), overwriting(at_once).returning(*(table.c[name] for name in key))


@cache
def _insert_new(model: type[Base], columns: tuple[str, ...], dialect: str) -> tuple[sa.Executable, sa.Executable]:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: each of our models has a table
    each = insert(table).values({name: sa.bindparam(name) for name in columns}).on_conflict_do_nothing()
    given = _given({name: table.c[name].type for name in columns})
    at_once = insert(table).from_select(list(columns), sa.select(given), include_defaults=False)
    return each, at_once.on_conflict_do_nothing()


@cache
def _insert(model: type[Base], columns: tuple[str, ...]) -> tuple[sa.Insert, sa.Insert]:
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: each of our models has a table
    each = sa.insert(table).values({name: sa.bindparam(name) for name in columns})
    given = _given({name: table.c[name].type for name in columns})
    return each, sa.insert(table).from_select(list(columns), sa.select(given), include_defaults=False)


def _run(connection: sa.Connection, each: sa.Executable, at_once: sa.Executable, rows: Sequence[Row]) -> None:
    if rows and connection.dialect.name == "sqlite":
        connection.execute(each, rows)
    elif rows:
        connection.execute(at_once, {"chunk": _json(rows)})


class _Elements(sa.sql.expression.FunctionElement[Any]):
    """The elements of a JSON array, as rows of one `value`."""

    inherit_cache = True


@compiles(_Elements, "sqlite")
def _elements_of_sqlite(element: _Elements, compiler: Any, **how: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **how)})"


@compiles(_Elements, "postgresql")
def _elements_of_postgresql(element: _Elements, compiler: Any, **how: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **how)} AS json))"


class _OneByOne(sa.sql.expression.FunctionElement[Any]):
    """The values of a sub-select, as the right side of `IN`."""

    inherit_cache = True


@compiles(_OneByOne, "sqlite")
def _one_by_one_of_sqlite(element: _OneByOne, compiler: Any, **how: Any) -> str:
    (values,) = element.clauses
    return f"IN {compiler.process(values, **how)}"


@compiles(_OneByOne, "postgresql")
def _one_by_one_of_postgresql(element: _OneByOne, compiler: Any, **how: Any) -> str:
    # PostgreSQL looks up an array value by value. For a list of unknown length the planner read whole tables instead.
    (values,) = element.clauses
    return f"= ANY (ARRAY{compiler.process(values, **how)})"


def within(column: InstrumentedAttribute[Any], values: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """True if the column's value is among the sub-select's values. The sub-select runs once."""
    return column.op("", is_comparison=True, return_type=sa.Boolean())(_OneByOne(values.scalar_subquery()))


def among(column: InstrumentedAttribute[Any], name: str) -> sa.ColumnElement[bool]:
    """True if the column's value is in the parameter `name`. Make the parameter's value with `keys`."""
    elements = _Elements(sa.bindparam(name, type_=sa.Text())).table_valued(sa.column("value", sa.Text()))
    return within(column, sa.select(sa.cast(elements.c.value, column.type)))


def fixed(word: StrEnum) -> sa.ColumnElement[Any]:
    """A state as literal SQL text. The planner uses a partial index only if the state is in the statement's text."""
    return sa.literal_column(f"'{word.value}'")


def keys(values: Iterable[Any]) -> str:
    """The value of the parameter of `among`: ids or texts."""
    return _json([value.hex if isinstance(value, uuid.UUID) else value for value in values])


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _plain(value: Any) -> str:
    return _TEXTS[type(value)](value)


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a naive datetime cannot be stored: times are aware UTC")
    return value.isoformat()


# Keyed by the exact type, because most values of most rows need it. PostgreSQL reads these texts as its own types.
_TEXTS: dict[type, Callable[[Any], str]] = {
    datetime: _time,
    bytes: lambda value: f"\\x{value.hex()}",
}


def _given(types: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.TableValuedAlias:
    """PostgreSQL: the JSON rows as a table with these columns."""
    chunk = sa.cast(sa.bindparam("chunk", type_=sa.Text()), sa.JSON())
    columns = [sa.column(name, type_) for name, type_ in types.items()]
    return sa.func.json_to_recordset(chunk).table_valued(*columns, name="given").render_derived(with_types=True)


def _named(value: Any) -> set[str]:
    """The names of the parameters that an expression binds by name. Constants are left out."""
    found = visitors.iterate(value) if isinstance(value, sa.ClauseElement) else ()
    return {element.key for element in found if isinstance(element, sa.BindParameter) and not element.unique}


def _read_from(given: sa.TableValuedAlias, value: Any) -> Any:
    """The expression, with each parameter that is bound by name read from the given rows."""
    names = _named(value)

    def read(element: Any, **_: Any) -> Any:
        return given.c[element.key] if isinstance(element, sa.BindParameter) and element.key in names else None

    return visitors.replacement_traverse(value, {}, read) if names else value
