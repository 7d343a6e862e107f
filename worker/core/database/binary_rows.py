"""Many rows as PostgreSQL takes them in binary: by a COPY, or as one array for each column; and as it sends them.

Both cost the server a fraction of a JSON text or of a parameter for each value. Rows that a statement returns are named
tuples: a name of SQLAlchemy's own rows costs ten times as much, which is most of the work for a row with many columns.
Values in binary are read at two thirds of the cost.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast

import orjson
import sqlalchemy as sa
from psycopg.pq import Format
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.ext.compiler import compiles

from worker.core.database.tables.types import Words, reader

Row = Mapping[str, Any]
# Many rows as columns: one list for each name, all of one length. PostgreSQL takes them so, and they pickle well.
Columns = dict[str, list[Any]]
Types = Mapping[str, sa.types.TypeEngine[Any]]
Form = Callable[[Sequence[Any]], Sequence[Any]]
DIALECT: sa.Dialect = dialects.dialect()  # type: ignore[no-untyped-call]
_ROWS = "onboarding_copied_rows"  # the execution option with the rows of a COPY
_TYPES = "onboarding_copied_types"
# psycopg would write the name of an enumeration's member.
_SENT_AS_THEY_ARE = frozenset({str, type(None)})


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """The rows as columns, by the names of the first row; no columns of no rows."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def columns_of_tuples(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Columns:
    """The rows as columns: each row has one value for each name; no columns of no rows."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=bool(rows)))


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def picked(columns: Mapping[str, Sequence[Any]], places: Sequence[int]) -> Columns:
    """The rows at these places, in their order."""
    return {name: [values[place] for place in places] for name, values in columns.items()}


def speak_binary(engine: sa.Engine) -> None:
    """Let this engine's connections ask for binary values, and run COPY as SQLAlchemy runs every statement, with its
    errors."""
    event.listen(engine, "do_execute", _ask_in_binary)
    event.listen(engine, "do_execute", _copy)


def _copy(cursor: Any, statement: str, _parameters: Any, context: Any) -> bool | None:
    rows = context.execution_options.get(_ROWS)
    if rows is None:
        return None
    cursor.connection.catch_up()  # libpq's pipeline takes no COPY
    with cursor.copy(statement) as copy:
        copy.set_types(context.execution_options[_TYPES])
        for row in rows:
            copy.write_row(row)
    return True


def copy(connection: sa.Connection, table: sa.Table, columns: Columns) -> None:
    """INSERT rows; the database fills in the other columns."""
    # Each value costs both sides. Of a new job a third of the columns holds what the database fills in by itself.
    usual = _defaults(table)
    written = {name: values for name, values in columns.items() if not _all_are(usual[name], values)}
    statement, types, forms = _copied(table, tuple(written))
    values = [form(given) if form else given for form, given in zip(forms, written.values(), strict=True)]
    rows = zip(*values, strict=True)
    connection.exec_driver_sql(statement, execution_options={_ROWS: rows, _TYPES: types})


def _all_are(usual: Any, values: Sequence[Any]) -> bool:
    return values[0] == usual and values.count(usual) == len(values)  # mostly the first value tells


def arrays(types: Types, rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """The values of the rows, as one list for each column: the parameters of `given`."""
    return sent(types, {name: [row[name] for row in rows] for name in types})


def sent(types: Types, columns: Columns) -> dict[str, Sequence[Any]]:
    """The columns, as psycopg sends them rightly: the parameters of `given`."""
    forms = {name: _form(type_) for name, type_ in types.items()}
    return {name: form(columns[name]) if form else columns[name] for name, form in forms.items()}


def scalars(types: Types, row: Row) -> dict[str, Any]:
    """The values of one row: the parameters of `parameter`."""
    return {name: values[0] for name, values in arrays(types, [row]).items()}


def given(types: Types) -> sa.TableValuedAlias:
    """The rows of `arrays` as a table with these columns. They come in the order of the arrays."""
    columns = [sa.column(name, type_) for name, type_ in types.items()]
    arrays_ = [_Parameter(name, type_, array=True) for name, type_ in types.items()]
    return sa.func.unnest(*arrays_).table_valued(*columns, name="given").render_derived()


def parameter(name: str, type_: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """A parameter of a statement that `text` writes: one value for all rows."""
    return _Parameter(name, type_, array=False)


def text(statement: sa.Executable) -> str:
    """The statement for psycopg. Constants are a part of it."""
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]


class _Parameter(sa.ColumnElement[Any]):
    """A parameter that psycopg sends in binary."""

    inherit_cache = False

    def __init__(self, name: str, type_: sa.types.TypeEngine[Any], *, array: bool) -> None:
        self.name, self.type, self.array = name, type_, array


@compiles(_Parameter, "postgresql")
def _written(element: _Parameter, _compiler: Any, **_: Any) -> str:
    return f"%({element.name})b::{_name(element.type)}{'[]' if element.array else ''}"


@cache
def _defaults(table: sa.Table) -> Mapping[str, Any]:
    """By column, the value of a row that does not name it: NULL, or the number or text that is its default."""

    def of(column: sa.Column[Any]) -> Any:
        default = column.server_default
        if default is None:
            return None
        if not isinstance(default, sa.DefaultClause) or not isinstance(default.arg, str):
            return object()  # an expression: equal to no value
        return int(default.arg) if isinstance(column.type, sa.Integer) else default.arg

    return {column.name: of(column) for column in table.columns}


@cache
def _copied(table: sa.Table, columns: tuple[str, ...]) -> tuple[str, list[str], list[Form | None]]:
    """The COPY statement; for each column its type's name as psycopg knows it, and the form that its values need."""
    quote = DIALECT.identifier_preparer.quote
    types = [table.c[name].type for name in columns]
    named = ", ".join(map(quote, columns))
    forms = [_form(type_, copied=True) for type_ in types]
    names = ["bytea" if isinstance(type_, sa.JSON) else _name(type_).lower() for type_ in types]
    return f"COPY {quote(table.name)} ({named}) FROM STDIN (FORMAT BINARY)", names, forms


@cache
def _name(type_: sa.types.TypeEngine[Any]) -> str:
    """The type's name without a length. A cast to a length would cut a longer text off; the column refuses it."""
    return str(type_.compile(DIALECT)).partition("(")[0]


@cache
def _form(type_: sa.types.TypeEngine[Any], *, copied: bool = False) -> Form | None:
    """What changes values of this type into values that psycopg sends rightly; None: nothing does."""
    match _name(type_):
        case "TIMESTAMP WITH TIME ZONE":
            return _aware
        case "JSON":
            return _json_bytes if copied else _json_texts
        case "VARCHAR" | "TEXT" if not copied:
            return _texts
    return None


def _aware(values: Sequence[Any]) -> Sequence[Any]:
    if [value for value in values if type(value) is datetime and value.tzinfo is None]:
        raise ValueError("a naive datetime cannot be stored: times are aware UTC")
    return values


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    if _SENT_AS_THEY_ARE.issuperset(map(type, values)):
        return values
    return [None if value is None else str(value) for value in values]


def _json_bytes(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else orjson.dumps(value) for value in values]


def _json_texts(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else orjson.dumps(value).decode() for value in values]


_OPTION = "onboarding_binary"
BINARY = {_OPTION: True}  # execution options: PostgreSQL sends the values in binary, for `BinaryRows`


def _ask_in_binary(cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    if _OPTION in context.execution_options:
        cursor.format = Format.BINARY


@cache
def named(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)


class BinaryRows:
    """Reads the rows of a statement that PostgreSQL ran with `BINARY`. SQLAlchemy makes no rows of its own for them."""

    def __init__(self, columns: Iterable[sa.ColumnElement[Any]]) -> None:
        columns = tuple(columns)
        self._make = named(tuple(str(each.key) for each in columns))._make
        # The driver reads all other types of ours rightly by itself.
        self._words = [
            (place, reader(each.type.kind)) for place, each in enumerate(columns) if isinstance(each.type, Words)
        ]

    def of(self, result: sa.CursorResult[Any]) -> list[Any]:
        rows = list(map(list, cast(Any, result.cursor).fetchall()))
        result.close()
        for place, read in self._words:
            for row in rows:
                row[place] = read(row[place])
        return list(map(self._make, rows))
