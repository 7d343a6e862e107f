"""SQLite: a statement for each of many rows, compiled and converted once for all of them, column by column.

Plain: SQLAlchemy's own execution with a list of rows, on both databases. It looks up and converts the values of each
row one by one.

Gain: 170 of 1,200 microseconds for a customer on SQLite, 14 %. Leans on `statement.compile`, `Compiled.positiontup`,
`binds` and `params`, the bind processors of types, and `Connection.exec_driver_sql` with a list.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import pysqlite

from worker.core.database.fast.twins import Twin, runs

_SQLITE = pysqlite.dialect()


def run_each(
    connection: sa.Connection, statement: sa.UpdateBase, rows: Sequence[Mapping[str, Any]], **shared: Any
) -> None:
    """Run an INSERT or UPDATE for each row. `shared`: parameters that are the same for all rows.

    The statement has no `in_` with values, whose text would depend on them; `bulk.fixed` words are none.
    """
    if connection.dialect.name != "sqlite" or not runs(Twin.EACH_ROW):
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
