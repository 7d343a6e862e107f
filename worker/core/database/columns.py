"""Many rows as columns: one list for each name, all of one length. PostgreSQL takes them so, and they pickle well."""

from collections.abc import Mapping, Sequence
from typing import Any

Columns = dict[str, list[Any]]


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
