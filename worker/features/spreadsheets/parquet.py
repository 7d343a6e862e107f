"""The rows of a Parquet file, with typed cells, read by pyarrow: only in the process that `read_apart` bounds."""

import datetime
import decimal
import math
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow.parquet

from onboarding_worker.features.spreadsheets import sheet_values
from onboarding_worker.lists.cells import EXACT, whole
from onboarding_worker.lists.formats.source import Cell, Row, is_filled
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.providers.values import Refusal

WHAT = "the Parquet file"
_AT_ONCE = 1_000  # rows in memory
_MOST_LISTED = 200_000  # columns and groups in the footer, of a few bytes each: pyarrow makes a thousand bytes of each
_ROWS_OF_A_BYTE = 100  # of the file; ids differ from row to row
_EXACT = {"float": 1 << 24, "halffloat": 1 << 11}  # by Arrow's narrow types: from there on ones have no digits
_FRACTION = Refusal("a number with a fraction", "write text or whole numbers")
_ZONE = Refusal("a point in time with a time zone", "write the day alone, as a date or text")
_OTHER = Refusal("a value of a type that a cell cannot have", "write the column as text")


def read_parquet(raw: BinaryIO) -> Iterator[Row]:
    """Rows are numbered as if the file were saved as CSV: row 1 has the columns' names. Raises ListRefused, and
    whatever pyarrow raises."""
    most = 1_000_000 + _ROWS_OF_A_BYTE * raw.seek(0, 2)
    # Read as a stream, a column's pages one after the other, without a second thread.
    file: Any = pyarrow.parquet.ParquetFile(
        raw,
        buffer_size=1 << 16,
        pre_buffer=False,
        page_checksum_verification=True,
        thrift_container_size_limit=_MOST_LISTED,
    )
    return _rows(file, most)


def _rows(file: Any, most: int) -> Iterator[Row]:
    yield 1, list(file.schema_arrow.names)
    row = 1
    for batch in file.iter_batches(batch_size=_AT_ONCE, use_threads=False):
        columns = [_texts(column) for column in batch.columns]
        if row + len(batch) > most:
            raise ListRefused([f"{WHAT} is refused: it has more rows than a file of its size can have"])
        for cells in zip(*columns, strict=True):
            row += 1
            if any(map(is_filled, cells)):
                yield row, cells


def _texts(column: Any) -> list[Cell]:
    """A column's cells as text, as a CSV file would hold them."""
    # Values of the few types that Python has no exact value for, such as nanoseconds, become text in Arrow.
    name = str(column.type)
    if name.startswith("timestamp"):
        if "tz=" in name:
            return ["" if is_null else _ZONE for is_null in column.is_null().to_pylist()]
        return [_moment(value) for value in column.cast("timestamp[us]", safe=False).to_pylist()]
    if name in _EXACT:
        return [_float(value, _EXACT[name]) for value in column.to_pylist()]
    return [_READERS.get(type(value), lambda _value: _OTHER)(value) for value in column.to_pylist()]


def _moment(value: datetime.datetime | None) -> Cell:
    if value is None:
        return ""
    return value.date().isoformat() if value.time() == datetime.time() else sheet_values.TIME


def _string(value: str) -> Cell:
    return value if len(value) <= sheet_values.LONGEST_TEXT else sheet_values.TOO_LONG


def _float(value: float | None, exact: int = EXACT) -> Cell:
    if value is None or math.isnan(value):  # how pandas writes an empty cell of a column of numbers
        return ""
    return whole(value, exact=exact)


def _list(value: list[Any]) -> Cell:
    if any(not isinstance(part, str) or ";" in part for part in value):
        return Refusal("a list that holds more than text, or a ; in a text", "write the column as text")
    return _string(";".join(value))


_READERS: dict[type, Callable[[Any], Cell]] = {
    type(None): lambda _none: "",
    str: _string,
    int: str,
    bool: lambda value: "true" if value else "false",
    float: _float,
    decimal.Decimal: lambda value: str(int(value)) if value == value.to_integral_value() else _FRACTION,
    datetime.date: datetime.date.isoformat,
    list: _list,
    bytes: lambda _bytes: Refusal("bytes, not text", "write the column as text"),
}
