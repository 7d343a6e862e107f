"""Many rows as PostgreSQL takes them in binary: by a COPY, or as one array for each column.

Both cost the server a fraction of a JSON text or of a parameter for each value.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.ext.compiler import compiles

from worker.core.database.columns import Columns

Row = Mapping[str, Any]
Types = Mapping[str, sa.types.TypeEngine[Any]]
Form = Callable[[Sequence[Any]], Sequence[Any]]
DIALECT: sa.Dialect = dialects.dialect()  # type: ignore[no-untyped-call]
_ROWS = "onboarding_copied_rows"  # the execution option with the rows of a COPY
_TYPES = "onboarding_copied_types"
# psycopg would write the name of an enumeration's member.
_SENT_AS_THEY_ARE = frozenset({str, type(None)})


def let_copy(engine: sa.Engine) -> None:
    """Let this engine's connections run COPY as SQLAlchemy runs every statement, with its errors."""
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
