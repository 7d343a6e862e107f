"""Runs a statement over many rows in each database's quickest form: two twins.

`arrays`, on PostgreSQL: one statement over all rows, which come as one array for each column; `unnest` makes rows of
them. Its text does not depend on the number of rows, so PostgreSQL plans it once, and it takes one round trip. Plain: a
statement with its parameters for each row, as SQLAlchemy and psycopg run it. Gain: 500 microseconds of a worker for a
customer, and 500 of PostgreSQL: more than half of all. Leans on table-valued functions and traversal of SQLAlchemy, and
on psycopg's lists as arrays.

`each_row`, on SQLite: a statement for each row, compiled and converted once for all of them, column by column. Plain:
SQLAlchemy's own execution with a list of rows, on both databases, which looks up and converts the values of each row
one by one. Gain: 170 of 1,200 microseconds for a customer on SQLite, 14 %. Leans on `statement.compile`,
`Compiled.positiontup`, `binds` and `params`, the bind processors of types, and `Connection.exec_driver_sql`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from itertools import repeat
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import pysqlite

from onboarding_worker.core.database import fast
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.tables.types import UtcDateTime

Types = Mapping[str, sa.types.TypeEngine[Any]]

# psycopg would write the name of an enumeration's member.
_SENT_AS_THEY_ARE = frozenset({str, type(None)})


def takes_arrays(connection: sa.Connection) -> bool:
    """Whether this connection's statements take arrays."""
    return connection.dialect.name == "postgresql" and Twin.ARRAYS not in fast.plain


def given(types: Types) -> sa.TableValuedAlias:
    """The rows of `sent` as a table with these columns. They come in the order of the arrays."""
    # A cast to a length would cut a longer text off; the column refuses it.
    each = {name: sa.String() if isinstance(type_, sa.String) else type_ for name, type_ in types.items()}
    arrays = (
        sa.cast(sa.bindparam(f"given_{name}", type_=sa.types.NullType()), sa.ARRAY(type_))
        for name, type_ in each.items()
    )
    columns = (sa.column(name, type_) for name, type_ in types.items())
    return sa.func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def sent(types: Types, columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns as psycopg sends them rightly: the parameters of `given`."""
    forms = {name: _form(type_) for name, type_ in types.items()}
    return {f"given_{name}": form(columns[name]) if form else columns[name] for name, form in forms.items()}


@cache
def _form(type_: sa.types.TypeEngine[Any]) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    if isinstance(type_, UtcDateTime):
        return _aware
    if isinstance(type_, sa.JSON):
        return _json
    return _texts if isinstance(type_, sa.String) else None


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


_SQLITE = pysqlite.dialect()


def run_each(
    connection: sa.Connection, statement: sa.UpdateBase, columns: Mapping[str, Sequence[Any]], **shared: Any
) -> None:
    """Run an INSERT or UPDATE for each of the rows, one or more, that are columns. `shared`: parameters that are the
    same for all rows.

    The statement has no `in_` with values, whose text would depend on them; `fixed` words are none.
    """
    if connection.dialect.name != "sqlite" or Twin.EACH_ROW in fast.plain:
        rows = zip(*columns.values(), strict=True)
        connection.execute(statement, [dict(zip(columns, row, strict=True)) | shared for row in rows])
        return
    text, parameters, constants = _compiled(statement)
    same, number = constants | shared, len(next(iter(columns.values())))
    values: list[Any] = []
    for name, convert in parameters:
        if name in same:
            values.append(repeat(convert(same[name]) if convert else same[name], number))
        else:
            values.append(map(convert, columns[name]) if convert else columns[name])
    connection.exec_driver_sql(text, list(zip(*values, strict=True)))


@lru_cache(maxsize=512)
def _compiled(statement: sa.UpdateBase) -> tuple[str, list[tuple[str, Any]], dict[str, Any]]:
    """The text, its parameters in their order, and the values of those that are the statement's own. Each parameter
    comes with what makes SQLite's value of its value; None: it is the same."""
    compiled = statement.compile(dialect=_SQLITE)
    parameters: list[tuple[str, Any]] = []
    constants = {}
    for name in compiled.positiontup or ():
        bound = compiled.binds[name]
        parameters.append((name, bound.type.dialect_impl(_SQLITE).bind_processor(_SQLITE)))
        if not bound.required:
            constants[name] = compiled.params[name]
    return str(compiled), parameters, constants
