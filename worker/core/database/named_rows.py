"""Rows that a statement returns as named tuples.

A name of SQLAlchemy's own rows costs ten times as much, which is most of the work for a row with many columns. Where
PostgreSQL sends the values in binary, they are read at two thirds of the cost.
"""

from collections import namedtuple
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from psycopg.pq import Format
from sqlalchemy import event

from worker.core.database.tables.types import Words, reader

_OPTION = "onboarding_binary"
BINARY = {_OPTION: True}  # execution options: PostgreSQL sends the values in binary, for `BinaryRows`


def let_ask_in_binary(engine: sa.Engine) -> None:
    """Let this engine's connections ask for binary values."""
    event.listen(engine, "do_execute", _ask_in_binary)


def _ask_in_binary(cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    if _OPTION in context.execution_options:
        cursor.format = Format.BINARY


@cache
def named(columns: tuple[str, ...]) -> Any:
    """The type of a row with these columns."""
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
