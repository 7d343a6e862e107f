"""Statements over a chunk of rows: written for one row, with a bound parameter for each value, and run with a list of
rows, or with rows as columns. `fast.many_rows` runs them in each database's quickest form.
"""

import uuid
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors

from onboarding_worker.core.database.fast import many_rows
from onboarding_worker.core.database.fast.many_rows import Types
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.tables import Base

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Row = Mapping[str, Any]
# Many rows as columns: one list for each name, all of one length. PostgreSQL takes them so, and they pickle well.
Columns = dict[str, list[Any]]


def columns_of(rows: Sequence[Row]) -> Columns:
    """The rows as columns, by the names of the first row; no columns of no rows."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def picked(columns: Mapping[str, Sequence[Any]], places: Sequence[int]) -> Columns:
    """The rows at these places, in their order."""
    return {name: [values[place] for place in places] for name, values in columns.items()}


class Change:
    """An UPDATE of rows by their ids. Rows that do not meet its conditions stay as they are."""

    def __init__(
        self,
        id_: sa.Column[Any],
        values: Mapping[str, Any],
        *conditions: Any,
        by: str,
        equal: Mapping[str, sa.Column[Any]] | None = None,
        returning: Sequence[Any] = (),
    ) -> None:
        """`values` maps columns to new values. `by` is the name of the id in the chunk's rows.

        For `changed`: `equal` are columns that must be equal to a parameter of the row, and `returning` columns that
        `values` leaves as they are.
        """
        self.columns = frozenset(values)
        self._id, self._values, self._conditions, self._by, self._equal = id_, values, conditions, by, equal or {}
        self._key = (by, *self._equal)
        self._told = [id_, *self._equal.values(), *returning] if equal else []
        self._one = sa.update(id_.table).values(**values).where(id_ == sa.bindparam(by), *conditions)
        if self._told:
            self._met = sa.select(*self._told).where(among(id_, "ids"), *conditions).order_by(id_).with_for_update()
        self._types = {by: id_.type, **{name: column.type for name, column in self._equal.items()}}
        for column, value in values.items():
            for name, type_ in _named(value).items():
                # A parameter without a type of its own has that of the column; a condition of a `case` has its own.
                own = not isinstance(type_, sa.types.NullType)
                self._types[name] = type_ if own else id_.table.c[column].type
        self._over_arrays: dict[frozenset[str], tuple[sa.UpdateBase, Types]] = {}

    def run(self, connection: sa.Connection, rows: Sequence[Row], **shared: Any) -> None:
        """`shared` are the parameters that are the same for all rows: these do not hold them."""
        if rows:
            self.run_columns(connection, columns_of(rows), **shared)

    def run_columns(self, connection: sa.Connection, columns: Columns, **shared: Any) -> None:
        """Change rows that are columns, one or more, as `run` does."""
        if many_rows.takes_arrays(connection):
            self._run_arrays(connection, columns, shared, **UNANSWERED)
        else:
            many_rows.run_each(connection, self._one, columns, **shared)

    def changed(self, connection: sa.Connection, columns: Columns, **shared: Any) -> list[Any]:
        """Change rows, one or more, that are columns. Returns those that met the conditions, and so were changed: the
        id, the columns of `equal`, and those of `returning`."""
        if many_rows.takes_arrays(connection):
            return fetched(self._run_arrays(connection, columns, shared))
        # No other transaction changes them in between: they are locked here.
        found = fetched(connection.execute(self._met, {"ids": keys(columns[self._by])}))
        keys_asked = zip(*(columns[name] for name in self._key), strict=True)
        places = {key: place for place, key in enumerate(keys_asked)}
        met = [row for row in found if row[: len(self._key)] in places]
        if met:
            chosen = picked(columns, [places[row[: len(self._key)]] for row in met])
            many_rows.run_each(connection, self._one, chosen, **shared)
        return met

    def _run_arrays(
        self, connection: sa.Connection, columns: Columns, shared: Mapping[str, Any], **how: Any
    ) -> sa.CursorResult[Any]:
        """`how`: execution options."""
        names = frozenset(shared)
        if names not in self._over_arrays:
            types: Types = {name: type_ for name, type_ in self._types.items() if name not in names}
            self._over_arrays[names] = self._update(types, names), types
        statement, types = self._over_arrays[names]
        return connection.execute(statement, many_rows.sent(types, columns) | dict(shared), execution_options=how)

    def _update(self, types: Types, shared: Iterable[str]) -> sa.UpdateBase:
        rows = many_rows.given(types)
        read: dict[str, sa.ColumnElement[Any]] = {name: rows.c[name] for name in types}
        read |= {name: sa.bindparam(name, type_=self._types[name]) for name in shared}
        values = {column: _read_from(read, value) for column, value in self._values.items()}
        equal = (column == rows.c[name] for name, column in self._equal.items())
        is_given = self._id == rows.c[self._by]
        update = sa.update(self._id.table).where(is_given, *self._conditions, *equal).values(**values)
        return update.returning(*self._told) if self._told else update


def _named(value: Any) -> dict[str, sa.types.TypeEngine[Any]]:
    """The types of the parameters that an expression binds by name. Constants are left out."""
    found = visitors.iterate(value) if isinstance(value, sa.ClauseElement) else ()
    return {
        element.key: element.type for element in found if isinstance(element, sa.BindParameter) and not element.unique
    }


def _read_from(read: Mapping[str, sa.ColumnElement[Any]], value: Any) -> Any:
    """The expression, with each parameter that is bound by name read from there."""
    names = _named(value)

    def replace(element: Any, **_: Any) -> Any:
        return read[element.key] if isinstance(element, sa.BindParameter) and element.key in names else None

    return visitors.replacement_traverse(value, {}, replace) if names else value


class _Conflict(NamedTuple):
    """What an INSERT does with a row whose `key` (none: any unique one) is there: it skips the row, or overwrites that
    one by the column `version`, see `put`. `told`: the columns that are returned, of the rows that are written."""

    skips: bool = False
    key: tuple[str, ...] = ()
    version: str = ""
    told: tuple[str, ...] = ()


def add(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows. All rows have the same columns, two or more; the database fills in the other columns."""
    add_columns(connection, model, columns_of(rows))


def add_columns(connection: sa.Connection, model: type[Base], columns: Columns) -> None:
    """INSERT rows that are columns as `add` does."""
    _insert(connection, model, columns, _Conflict())


def add_new(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows as `add` does. A row that conflicts with an existing row, by any unique key, is skipped."""
    _insert(connection, model, columns_of(rows), _Conflict(skips=True))


def add_missing(connection: sa.Connection, model: type[Base], columns: Columns, *, key: str) -> set[Any]:
    """INSERT rows that are columns, of whose `key` no row is there. Returns the keys of the others.

    A row that another transaction is inserting is waited for.
    """
    written = _insert(connection, model, columns, _Conflict(skips=True, key=(key,), told=(key,)))
    return set(columns[key]) - {value for (value,) in written}


def put(
    connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: tuple[str, ...], version: str
) -> set[tuple[Any, ...]]:
    """INSERT rows, or overwrite the rows of the same `key` that no other transaction has written since they were read.

    A row's `version` is one more than the version that was read, or 1. Returns the keys of the rows that were written.
    """
    return set(_insert(connection, model, columns_of(rows), _Conflict(key=key, version=version, told=key)))


def _insert(connection: sa.Connection, model: type[Base], columns: Columns, how: _Conflict) -> list[tuple[Any, ...]]:
    if not next(iter(columns.values()), ()):
        return []
    by_arrays = many_rows.takes_arrays(connection)
    statement, types = _inserted(model.__table__, tuple(columns), how, connection.dialect.name, by_arrays)
    if by_arrays:
        told = {} if how.told else UNANSWERED
        result = connection.execute(statement, many_rows.sent(types, columns), execution_options=told)
    elif how.told:
        result = connection.execute(statement, rows_of(columns))
    else:
        many_rows.run_each(connection, statement, columns)
        return []
    return [tuple(row) for row in result] if how.told else []


def insert(model: Any, dialect: str) -> "postgresql.Insert":
    """An INSERT with `on_conflict_do_nothing`, `on_conflict_do_update` and `excluded`. `dialect`: a connection's.

    Both databases have these. In SQLAlchemy each has a class of its own for them, with no class in common.
    """
    if dialect == "sqlite":
        return cast("postgresql.Insert", sqlite.insert(model))
    from sqlalchemy.dialects import postgresql  # imported here: a process on SQLite does not need it

    return postgresql.insert(model)


@cache
def _inserted(
    table: sa.Table, columns: tuple[str, ...], how: _Conflict, dialect: str, by_arrays: bool
) -> tuple[Any, Types]:
    """The INSERT of these columns, and their types where they are arrays."""
    types: Types = {name: table.c[name].type for name in columns} if by_arrays else {}
    statement = insert(table, dialect)
    if by_arrays:
        statement = statement.from_select(list(columns), sa.select(many_rows.given(types)), include_defaults=False)
    else:
        statement = statement.values({name: sa.bindparam(name) for name in columns})
    key = [table.c[name] for name in how.key]
    if how.version:
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=key,
            set_={name: new[name] for name in columns if name not in how.key},
            where=table.c[how.version] == new[how.version] - 1,
        )
    elif how.skips:
        statement = statement.on_conflict_do_nothing(index_elements=key or None)
    return (statement.returning(*(table.c[name] for name in how.told)) if how.told else statement.inline()), types


@cache
def _row_of(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)


def fetched(result: sa.CursorResult[Any]) -> list[Any]:
    """The rows, as named tuples: a name of SQLAlchemy's own rows costs ten times as much."""
    return list(map(_row_of(tuple(result.keys()))._make, result.all()))


class _Elements(sa.sql.expression.FunctionElement[Any]):
    """The elements of a JSON array, as rows of one `value`."""

    inherit_cache = True


@compiles(_Elements, "sqlite")
def _elements_of_sqlite(element: _Elements, compiler: Any, **how: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **how)})"


@compiles(_Elements, "postgresql")
def _elements_of_postgresql(element: _Elements, compiler: Any, **how: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **how)} AS json))"


class _Within(sa.sql.expression.FunctionElement[Any]):
    """A column, and a sub-select: whether its values have the column's.

    It has no type: with that of a truth, SQLite gets `… IN (…) = 1`, which reads the whole table.
    """

    inherit_cache = True


@compiles(_Within, "sqlite")
def _within_of_sqlite(element: _Within, compiler: Any, **how: Any) -> str:
    column, values = (compiler.process(one, **how) for one in element.clauses)
    return f"{column} IN {values}"


@compiles(_Within, "postgresql")
def _within_of_postgresql(element: _Within, compiler: Any, **how: Any) -> str:
    # PostgreSQL looks up an array value by value. For a list of unknown length the planner read whole tables instead.
    column, values = (compiler.process(one, **how) for one in element.clauses)
    return f"{column} = ANY (ARRAY{values})"


def within(column: sa.Column[Any], values: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """True if the column's value is among the sub-select's values. The sub-select runs once."""
    return _Within(column, values.scalar_subquery())


def among(column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """True if the column's value is in the parameter `name`. Make the parameter's value with `keys`."""
    elements = values_of(name)
    return within(column, sa.select(sa.cast(elements.c.value, column.type)))


def values_of(name: str) -> sa.TableValuedAlias:
    """The values of the parameter `name`, as rows of one `value`. Make the parameter's value with `keys`."""
    return _Elements(sa.bindparam(name, type_=sa.Text())).table_valued(sa.column("value", sa.Text()))


def new(*columns: str) -> dict[str, Any]:
    """Values for a `Change`: each of these columns gets the row's parameter of its name behind `new_`."""
    return {name: sa.bindparam(f"new_{name}") for name in columns}


def fixed(word: StrEnum) -> sa.ColumnElement[Any]:
    """A state as literal SQL text. The planner uses a partial index only if the state is in the statement's text."""
    return sa.literal_column(f"'{word.value}'")


def keys(values: Iterable[Any]) -> str:
    """The value of the parameter of `among`: ids or texts."""
    return orjson.dumps([value.hex if isinstance(value, uuid.UUID) else value for value in values]).decode()
