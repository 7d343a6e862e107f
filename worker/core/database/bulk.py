"""Statements over a chunk of rows, in the form that each database needs.

A statement is written for one row, with a bound parameter for each value. SQLite runs this statement with a list of
rows. PostgreSQL runs one statement over all rows, which come as one array for each column, or by a COPY. The
statement's text does not depend on the number of rows, so PostgreSQL plans it once and it takes one round trip. A
parameter for each value of each row cost more than all other work for the row.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from itertools import repeat
from typing import Any, NamedTuple, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import visitors

from worker.core.database import binary_rows
from worker.core.database.binary_rows import BINARY, BinaryRows, Columns, columns_of, named, rows_of
from worker.core.database.bounded_connection import UNANSWERED
from worker.core.database.tables import Base

# From so many rows on, a COPY costs less than an INSERT: nothing waits for an INSERT, and a COPY takes two round trips.
COPIED = 30
Row = Mapping[str, Any]


class _Update:
    """An UPDATE over a chunk's rows, by their ids. The rows hold the parameters that its values bind by name."""

    def __init__(self, id_: InstrumentedAttribute[Any], values: Mapping[str, Any], *conditions: Any, by: str) -> None:
        """`values` maps columns to new values. `by` is the name of the id in the chunk's rows."""
        self.columns = frozenset(values)
        self._id, self._values, self._conditions, self._by = id_, values, conditions, by
        self._table = id_.class_.__table__
        self._types = {by: id_.type}
        for name, value in values.items():
            for parameter, type_ in _named(value).items():
                is_columns = isinstance(type_, sa.types.NullType)
                self._types[parameter] = self._table.c[name].type if is_columns else type_
        self._written: dict[frozenset[str], tuple[str, binary_rows.Types, binary_rows.Types]] = {}

    def _each(self, *conditions: Any) -> sa.Update:
        """The statement for one row."""
        return sa.update(self._table).where(self._id == sa.bindparam(self._by), *conditions).values(**self._values)

    def _all(self, columns: Columns, shared: Row) -> tuple[str, dict[str, Any]]:
        """The statement over all rows, and its parameters. `shared`: those that are the same for all rows."""
        names = frozenset(shared)
        if names not in self._written:
            each = {name: type_ for name, type_ in self._types.items() if name not in names}
            same = {name: self._types[name] for name in names}
            self._written[names] = binary_rows.text(self._over_rows(each, same)), each, same
        statement, of_rows, of_all = self._written[names]
        return statement, {**binary_rows.sent(of_rows, columns), **binary_rows.scalars(of_all, shared)}

    def _over_rows(self, of_rows: binary_rows.Types, of_all: binary_rows.Types) -> sa.Update:
        given = binary_rows.given(of_rows)
        read: dict[str, sa.ColumnElement[Any]] = {name: given.c[name] for name in of_rows}
        read |= {name: binary_rows.parameter(name, type_) for name, type_ in of_all.items()}
        values = {name: _read_from(read, value) for name, value in self._values.items()}
        is_given = self._id == given.c[self._by]
        return sa.update(self._table).where(is_given, *self._conditions, *self._equal(given)).values(**values)

    def _equal(self, _given: sa.TableValuedAlias) -> list[sa.ColumnElement[bool]]:
        """Conditions on what the rows hold."""
        return []


class Change(_Update):
    """An UPDATE of rows by their ids. Rows that do not meet its conditions stay as they are."""

    def __init__(self, id_: InstrumentedAttribute[Any], values: Mapping[str, Any], *conditions: Any, by: str) -> None:
        super().__init__(id_, values, *conditions, by=by)
        self._one = self._each(*conditions)

    def run(self, connection: sa.Connection, rows: Sequence[Row], **shared: Any) -> None:
        """`shared` are the parameters that are the same for all rows: these do not hold them."""
        if rows and connection.dialect.name == "sqlite":
            _run_one_by_one(connection, self._one, rows, **shared)
        elif rows:
            self.run_columns(connection, columns_of(rows), **shared)

    def run_columns(self, connection: sa.Connection, columns: Columns, **shared: Any) -> None:
        """Change rows that are columns, one or more, as `run` does."""
        if connection.dialect.name == "sqlite":
            _run_one_by_one(connection, self._one, rows_of(columns), **shared)
        else:
            statement, given = self._all(columns, shared)
            connection.exec_driver_sql(statement, given, execution_options=UNANSWERED)


class ChangeIf(_Update):
    """An UPDATE of rows by their ids. It says which rows met its conditions, and so were changed."""

    def __init__(
        self,
        id_: InstrumentedAttribute[Any],
        values: Mapping[str, Any],
        *conditions: Any,
        by: str,
        equal: Mapping[str, InstrumentedAttribute[Any]],
        returning: Sequence[Any],
    ) -> None:
        """`equal`: columns that must be equal to a parameter of the row. `returning`: columns that `values` leaves as
        they are; those of `equal` are returned too."""
        super().__init__(id_, values, *conditions, by=by)
        self._types |= {name: column.type for name, column in equal.items()}
        self._same, self._returning = equal, [id_, *equal.values(), *returning]
        self._one = self._each()
        self._meet = sa.select(*self._returning).where(among(id_, "ids"), *conditions)
        self._rows = BinaryRows(self._meet.exported_columns)

    def changed(self, connection: sa.Connection, columns: Columns, **shared: Any) -> list[Any]:
        """Change rows, one or more, that are columns. Returns those that were changed, as named tuples."""
        if connection.dialect.name == "sqlite":
            return self._one_by_one(connection, columns, **shared)
        statement, given = self._all(columns, shared)
        return self._rows.of(connection.exec_driver_sql(statement, given, execution_options=BINARY))

    def _over_rows(self, of_rows: binary_rows.Types, of_all: binary_rows.Types) -> sa.Update:
        return super()._over_rows(of_rows, of_all).returning(*self._returning)

    def _equal(self, given: sa.TableValuedAlias) -> list[sa.ColumnElement[bool]]:
        return [column == given.c[name] for name, column in self._same.items()]

    def _one_by_one(self, connection: sa.Connection, columns: Columns, **shared: Any) -> list[Any]:
        # One transaction writes at a time, so a row that meets the conditions here meets them when it is changed.
        row = named(tuple(self._meet.exported_columns.keys()))._make
        found = list(map(row, connection.execute(self._meet, {"ids": keys(columns[self._by])}).all()))
        key = (self._by, *self._same)
        asked = {tuple(map(given.__getitem__, key)): given for given in rows_of(columns)}
        met = [row for row in found if row[: len(key)] in asked]
        if met:
            _run_one_by_one(connection, self._one, [asked[row[: len(key)]] for row in met], **shared)
        return met


def add(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows. All rows have the same columns, two or more; the database fills in the other columns."""
    if rows and connection.dialect.name == "sqlite":
        _run_one_by_one(connection, _insert(model, tuple(rows[0])), rows)
    elif rows:
        add_columns(connection, model, columns_of(rows))


def add_columns(connection: sa.Connection, model: type[Base], columns: Columns) -> None:
    """INSERT rows that are columns as `add` does."""
    count = len(next(iter(columns.values()), ()))
    if connection.dialect.name == "sqlite":
        add(connection, model, rows_of(columns))
    elif count >= COPIED:
        binary_rows.copy(connection, table_of(model), columns)
    elif count:
        statement, types = _insert_all(model, tuple(columns))
        connection.exec_driver_sql(statement, binary_rows.sent(types, columns), execution_options=UNANSWERED)


def add_new(connection: sa.Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """INSERT rows as `add` does. A row that conflicts with an existing row, by any unique key, is skipped."""
    if rows and connection.dialect.name == "sqlite":
        _run_one_by_one(connection, _insert_new(model, tuple(rows[0])), rows)
    elif rows:
        statement, types = _insert_all_new(model, tuple(rows[0]))
        connection.exec_driver_sql(statement, binary_rows.arrays(types, rows), execution_options=UNANSWERED)


def put(
    connection: sa.Connection, model: type[Base], rows: Sequence[Row], *, key: tuple[str, ...], version: str
) -> set[tuple[Any, ...]]:
    """INSERT rows, or overwrite the rows of the same `key` that no other transaction has written since they were read.

    A row's `version` is one more than the version that was read, or 1. Returns the keys of the rows that were written.
    """
    if not rows:
        return set()
    if connection.dialect.name == "sqlite":
        _run_one_by_one(connection, _put(model, tuple(rows[0]), key, version), rows)
        # One transaction writes at a time, so none can have come between.
        return {tuple(row[name] for name in key) for row in rows}
    statement, types = _put_all(model, tuple(rows[0]), key, version)
    return {tuple(row) for row in connection.exec_driver_sql(statement, binary_rows.arrays(types, rows))}


@cache
def _insert(model: type[Base], columns: tuple[str, ...]) -> sa.Insert:
    return sa.insert(table_of(model)).values({name: sa.bindparam(name) for name in columns})


@cache
def _insert_new(model: type[Base], columns: tuple[str, ...]) -> sa.Insert:
    each = sqlite.insert(table_of(model)).values({name: sa.bindparam(name) for name in columns})
    return each.on_conflict_do_nothing()


@cache
def _insert_all(model: type[Base], columns: tuple[str, ...]) -> tuple[str, binary_rows.Types]:
    statement, types = insert_all(model, columns)
    return binary_rows.text(statement), types


@cache
def _insert_all_new(model: type[Base], columns: tuple[str, ...]) -> tuple[str, binary_rows.Types]:
    statement, types = insert_all(model, columns)
    return binary_rows.text(statement.on_conflict_do_nothing()), types


@cache
def _put(model: type[Base], columns: tuple[str, ...], key: tuple[str, ...], version: str) -> sa.Insert:
    each = sqlite.insert(table_of(model)).values({name: sa.bindparam(name) for name in columns})
    return cast(sa.Insert, _overwriting(each, columns, key, version))


@cache
def _put_all(
    model: type[Base], columns: tuple[str, ...], key: tuple[str, ...], version: str
) -> tuple[str, binary_rows.Types]:
    statement, types = insert_all(model, columns)
    keys_ = [table_of(model).c[name] for name in key]
    return binary_rows.text(_overwriting(statement, columns, key, version).returning(*keys_)), types


def insert_all(model: type[Base], columns: tuple[str, ...]) -> tuple[postgresql.Insert, binary_rows.Types]:
    table = table_of(model)
    types = {name: table.c[name].type for name in columns}
    rows = sa.select(binary_rows.given(types))
    return postgresql.insert(table).from_select(list(columns), rows, include_defaults=False), types


def _overwriting(statement: Any, columns: tuple[str, ...], key: tuple[str, ...], version: str) -> Any:
    table, new = statement.table, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[table.c[name] for name in key],
        set_={name: new[name] for name in columns if name not in key},
        where=table.c[version] == new[version] - 1,
    )


def table_of(model: type[Base]) -> sa.Table:
    table = model.__table__
    assert isinstance(table, sa.Table)  # noqa: S101 -- for mypy: each of our models has a table
    return table


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


def _named(value: Any) -> dict[str, sa.types.TypeEngine[Any]]:
    """The types of the parameters that an expression binds by name. Constants are left out.

    A parameter without a type of its own has that of the column; a condition of a `case` has its own.
    """
    found = visitors.iterate(value) if isinstance(value, sa.ClauseElement) else ()
    return {
        element.key: element.type for element in found if isinstance(element, sa.BindParameter) and not element.unique
    }


def _read_from(given: Mapping[str, sa.ColumnElement[Any]], value: Any) -> Any:
    """The expression, with each parameter that is bound by name read from what is given."""
    names = _named(value)

    def read(element: Any, **_: Any) -> Any:
        return given[element.key] if isinstance(element, sa.BindParameter) and element.key in names else None

    return visitors.replacement_traverse(value, {}, read) if names else value


class _ArrayParameter(NamedTuple):
    """A value of the statement. `convert`: to SQLite's value; None: it is the same."""

    name: str
    convert: Callable[[Any], Any] | None


def _run_one_by_one(connection: sa.Connection, statement: sa.UpdateBase, rows: Sequence[Row], **shared: Any) -> None:
    """SQLite: run an INSERT or UPDATE for each row. `shared`: parameters that are the same for all rows.

    SQLAlchemy compiles it, once, and its types convert the values, column by column. `Connection.execute` looks up and
    converts them one by one, which took a fifth of the time in which a process on SQLite issues sessions.

    The statement has no `in_` with values, whose text would depend on them; `bulk.fixed` words are none.
    """
    text, parameters, constants = _compiled(statement)
    same = constants | shared
    columns: list[Any] = []
    for name, convert in parameters:
        if name in same:
            columns.append(repeat(convert(same[name]) if convert else same[name], len(rows)))
        elif convert:
            columns.append([convert(row[name]) for row in rows])
        else:
            columns.append([row[name] for row in rows])
    connection.exec_driver_sql(text, list(zip(*columns, strict=True)))


_SQLITE = pysqlite.dialect()


@lru_cache(maxsize=512)
def _compiled(statement: sa.UpdateBase) -> tuple[str, list[_ArrayParameter], dict[str, Any]]:
    """The text, its parameters in their order, and the values of those that are the statement's own."""
    compiled = statement.compile(dialect=_SQLITE)
    parameters, constants = [], {}
    for name in compiled.positiontup or ():
        bound = compiled.binds[name]
        parameters.append(_ArrayParameter(name, bound.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)))
        if not bound.required:
            constants[name] = compiled.params[name]
    return str(compiled), parameters, constants
