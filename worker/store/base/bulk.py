"""Statements over a chunk of rows, as each database wants them.

Written for one row, with a bound parameter for each of its values. SQLite is given it with a list of rows. PostgreSQL
is given one statement over all of them, as one parameter: rows of JSON. So its text does not depend on how many rows
there are, it is planned once, and it takes one round trip; a parameter for each value of each row cost more than all
else that is done for the row.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import visitors

from worker.store.tables import Base

Row = Mapping[str, Any]


class Change:
    """An UPDATE of rows by their ids, for a chunk of rows that hold what it binds by name."""

    def __init__(self, id_: InstrumentedAttribute[Any], values: Mapping[str, Any], *conditions: Any, by: str) -> None:
        """`values` are by column; `by` names the id in the chunk's rows."""
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
    """INSERT rows that all have the same of the table's columns."""
    if rows:
        _run(connection, *_insert(model, tuple(rows[0])), rows)


def add_new(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """As `add`; rows that are there already, by any of the table's keys, stay as they are."""
    if rows:
        _run(connection, *_insert_new(model, tuple(rows[0]), connection.dialect.name), rows)


@cache
def _insert_new(model: type[Base], columns: tuple[str, ...], dialect: str) -> tuple[sa.Executable, sa.Executable]:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: a model of ours is a table's
    each = insert(table).values({name: sa.bindparam(name) for name in columns}).on_conflict_do_nothing()
    given = _given({name: table.c[name].type for name in columns})
    at_once = insert(table).from_select(list(columns), sa.select(given), include_defaults=False)
    return each, at_once.on_conflict_do_nothing()


@cache
def _insert(model: type[Base], columns: tuple[str, ...]) -> tuple[sa.Insert, sa.Insert]:
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: a model of ours is a table's
    each = sa.insert(table).values({name: sa.bindparam(name) for name in columns})
    given = _given({name: table.c[name].type for name in columns})
    return each, sa.insert(table).from_select(list(columns), sa.select(given), include_defaults=False)


def _run(connection: sa.Connection, each: sa.Executable, at_once: sa.Executable, rows: Sequence[Row]) -> None:
    if rows and connection.dialect.name == "sqlite":
        connection.execute(each, rows)
    elif rows:
        connection.execute(at_once, {"chunk": json.dumps(rows, default=_plain)})


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
    """The values of a sub-select, on the right of `IN`."""

    inherit_cache = True


@compiles(_OneByOne, "sqlite")
def _one_by_one_of_sqlite(element: _OneByOne, compiler: Any, **how: Any) -> str:
    (values,) = element.clauses
    return f"IN {compiler.process(values, **how)}"


@compiles(_OneByOne, "postgresql")
def _one_by_one_of_postgresql(element: _OneByOne, compiler: Any, **how: Any) -> str:
    # An array is looked up value by value. With a list of unknown length the planner read whole tables instead.
    (values,) = element.clauses
    return f"= ANY (ARRAY{compiler.process(values, **how)})"


def within(column: InstrumentedAttribute[Any], values: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Whether a column's value is one of a sub-select's, which is run once."""
    return column.op("", is_comparison=True, return_type=sa.Boolean())(_OneByOne(values.scalar_subquery()))


def among(column: InstrumentedAttribute[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a column's value is one of those in the parameter `name`, which is to be given through `keys`."""
    elements = _Elements(sa.bindparam(name, type_=sa.Text())).table_valued(sa.column("value", sa.Text()))
    return within(column, sa.select(sa.cast(elements.c.value, column.type)))


def fixed(word: StrEnum) -> sa.ColumnElement[Any]:
    """A state as it stands in a statement's text: a partial index is of use only where the planner can see it."""
    return sa.literal_column(f"'{word.value}'")


def keys(values: Iterable[Any]) -> str:
    """The parameter that `among` looks in: ids, or texts."""
    return json.dumps([value.hex if isinstance(value, uuid.UUID) else value for value in values])


def _plain(value: Any) -> str:
    return _TEXTS[type(value)](value)


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a naive datetime was to be stored; times are aware UTC")
    return value.isoformat()


# By the very type, since this is asked for most values of most rows. PostgreSQL reads these texts as its own types.
_TEXTS: dict[type, Callable[[Any], str]] = {
    datetime: _time,
    uuid.UUID: lambda value: value.hex,
    bytes: lambda value: f"\\x{value.hex()}",
}


def _given(types: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.TableValuedAlias:
    """PostgreSQL's rows of JSON as a table of these columns."""
    chunk = sa.cast(sa.bindparam("chunk", type_=sa.Text()), sa.JSON())
    columns = [sa.column(name, type_) for name, type_ in types.items()]
    return sa.func.json_to_recordset(chunk).table_valued(*columns, name="given").render_derived(with_types=True)


def _named(value: Any) -> set[str]:
    """The parameters that an expression binds by name, as opposed to constants."""
    found = visitors.iterate(value) if isinstance(value, sa.ClauseElement) else ()
    return {element.key for element in found if isinstance(element, sa.BindParameter) and not element.unique}


def _read_from(given: sa.TableValuedAlias, value: Any) -> Any:
    """The expression with what it binds by name read from the given rows."""
    names = _named(value)

    def read(element: Any, **_: Any) -> Any:
        return given.c[element.key] if isinstance(element, sa.BindParameter) and element.key in names else None

    return visitors.replacement_traverse(value, {}, read) if names else value
