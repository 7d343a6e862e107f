"""One statement for many rows, on each database in its quickest form.

`arrays`, on PostgreSQL: one statement over all rows, which come as one array for each column. `unnest` makes rows of
the arrays. The statement's text does not depend on the number of rows, so PostgreSQL plans it once, and it takes one
round trip. Plain: a statement with its parameters for each row, as SQLAlchemy and psycopg run it (`run_each`).

Gain: 500 microseconds of a worker for a customer, and 500 of PostgreSQL: more than half of all. Leans on table-valued
functions and traversal of SQLAlchemy, and on psycopg's lists as arrays.

`each_row`, on SQLite: a statement for each row, compiled and converted once for all of them, column by column. Plain:
SQLAlchemy's own execution with a list of rows, on both databases. It looks up and converts the values of each row one
by one.

Gain: 170 of 1,200 microseconds for a customer on SQLite, 14 %. Leans on `statement.compile`, `Compiled.positiontup`,
`binds` and `params`, the bind processors of types, and `Connection.exec_driver_sql` with a list.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql import visitors

from worker.core.database.fast import twins
from worker.core.database.fast.twins import Twin
from worker.core.database.tables.types import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Types = Mapping[str, sa.types.TypeEngine[Any]]
# psycopg would write the name of an enumeration's member.
_SENT_AS_THEY_ARE = frozenset({str, type(None)})


def serve(connection: sa.Connection) -> bool:
    """Whether this connection's statements take arrays."""
    return connection.dialect.name == "postgresql" and Twin.ARRAYS not in twins.plain


def given(types: Types) -> sa.TableValuedAlias:
    """The rows of `sent` as a table with these columns. They come in the order of the arrays."""
    arrays = (sa.cast(sa.bindparam(f"given_{name}", type_=sa.types.NullType()), _array(types[name])) for name in types)
    columns = (sa.column(name, type_) for name, type_ in types.items())
    return sa.func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def _array(type_: sa.types.TypeEngine[Any]) -> sa.ARRAY[Any]:
    # A cast to a length would cut a longer text off; the column refuses it.
    return sa.ARRAY(sa.String() if isinstance(type_, sa.String) else type_)


def sent(types: Types, columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns as psycopg sends them rightly: the parameters of `given`."""
    return {f"given_{name}": _form(type_)(columns[name]) for name, type_ in types.items()}


@cache
def _form(type_: sa.types.TypeEngine[Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if isinstance(type_, UtcDateTime):
        return _aware
    if isinstance(type_, sa.JSON):
        return _json
    return _texts if isinstance(type_, sa.String) else _as_they_are


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _aware(values: Sequence[Any]) -> Sequence[Any]:
    if [value for value in values if type(value) is datetime and value.tzinfo is None]:
        raise ValueError("a naive datetime cannot be stored: times are aware UTC")
    return values


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    if _SENT_AS_THEY_ARE.issuperset(map(type, values)):
        return values
    return [None if value is None else str(value) for value in values]


def _json(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else orjson.dumps(value).decode() for value in values]


def insert(table: sa.Table, columns: Iterable[str]) -> "tuple[postgresql.Insert, Types]":
    """An INSERT of the rows of `sent`, and the types of its columns."""
    from sqlalchemy.dialects import postgresql  # imported here: a process on SQLite does not need it

    types = {name: table.c[name].type for name in columns}
    statement = postgresql.insert(table).from_select(list(types), sa.select(given(types)), include_defaults=False)
    return statement, types


class Update:
    """An UPDATE of rows by their ids, as `bulk.Change` describes it."""

    def __init__(
        self,
        id_: Any,
        values: Mapping[str, Any],
        *conditions: Any,
        by: str,
        equal: Mapping[str, Any],
        returning: Sequence[Any],
    ) -> None:
        self._id, self._values, self._conditions, self._by = id_, values, conditions, by
        self._equal, self._returning, self._table = equal, returning, id_.table
        self._types = {by: id_.type, **{name: column.type for name, column in equal.items()}}
        for column, value in values.items():
            for name, type_ in _named(value).items():
                # A parameter without a type of its own has that of the column; a condition of a `case` has its own.
                own = not isinstance(type_, sa.types.NullType)
                self._types[name] = type_ if own else self._table.c[column].type
        self._written: dict[frozenset[str], tuple[sa.UpdateBase, Types]] = {}

    def run(
        self, connection: sa.Connection, columns: Mapping[str, Sequence[Any]], shared: Mapping[str, Any], **how: Any
    ) -> sa.CursorResult[Any]:
        """`shared` are the parameters that are the same for all rows. `how`: execution options."""
        names = frozenset(shared)
        if names not in self._written:
            types: Types = {name: type_ for name, type_ in self._types.items() if name not in names}
            self._written[names] = self._over(types, {name: self._types[name] for name in names}), types
        statement, types = self._written[names]
        return connection.execute(statement, sent(types, columns) | dict(shared), execution_options=how)

    def _over(self, each: Types, same: Types) -> sa.UpdateBase:
        rows = given(each)
        read: dict[str, sa.ColumnElement[Any]] = {name: rows.c[name] for name in each}
        read |= {name: sa.bindparam(name, type_=type_) for name, type_ in same.items()}
        values = {column: _read_from(read, value) for column, value in self._values.items()}
        equal = (column == rows.c[name] for name, column in self._equal.items())
        is_given = self._id == rows.c[self._by]
        update = sa.update(self._table).where(is_given, *self._conditions, *equal).values(**values)
        return update.returning(*self._returning) if self._returning else update


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


_SQLITE = pysqlite.dialect()


def run_each(
    connection: sa.Connection, statement: sa.UpdateBase, rows: Sequence[Mapping[str, Any]], **shared: Any
) -> None:
    """Run an INSERT or UPDATE for each row. `shared`: parameters that are the same for all rows.

    The statement has no `in_` with values, whose text would depend on them; `bulk.fixed` words are none.
    """
    if connection.dialect.name != "sqlite" or Twin.EACH_ROW in twins.plain:
        connection.execute(statement, [{**row, **shared} for row in rows])
        return
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


class _Parameter(NamedTuple):
    """A value of the statement. `convert`: to SQLite's value; None: it is the same."""

    name: str
    convert: Callable[[Any], Any] | None


@lru_cache(maxsize=512)
def _compiled(statement: sa.UpdateBase) -> tuple[str, list[_Parameter], dict[str, Any]]:
    """The text, its parameters in their order, and the values of those that are the statement's own."""
    compiled = statement.compile(dialect=_SQLITE)
    parameters, constants = [], {}
    for name in compiled.positiontup or ():
        bound = compiled.binds[name]
        parameters.append(_Parameter(name, bound.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)))
        if not bound.required:
            constants[name] = compiled.params[name]
    return str(compiled), parameters, constants
