"""A Parquet file: rows with typed cells. pyarrow, which reads it, is loaded only here and is an extra."""

import datetime
import decimal
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from worker.domain.intake.cells import EXACT, whole
from worker.domain.intake.formats import sheet_values
from worker.domain.intake.formats.parquet_pages import (
    MOST_LISTED,
    BadFooter,
    BadPage,
    HugeFooter,
    groups_in,
    rows_at_once,
)
from worker.domain.intake.formats.table import Cell, Row, is_filled
from worker.domain.intake.lines import ListRefused, Refusal
from worker.domain.model.customers import FieldProblem

MAGIC = b"PAR1"
WHAT = "the Parquet file"
_ROWS_OF_A_BYTE = 100  # of the file; ids differ from row to row
_LARGEST_FOOTER = 16 << 20  # bytes: pyarrow keeps all of it in memory
_LARGEST_CHUNK = 2 << 30  # bytes of one column in one group of rows, decompressed
_EXACT = {"float": 1 << 24, "halffloat": 1 << 11}  # by Arrow's narrow types: from there on ones have no digits
# By the numbers that the format gives them. The others are read with the worst that they may hold.
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_FRACTION = Refusal("a number with a fraction", "write text or whole numbers")
_BYTES = Refusal("bytes, not text", "write the column as text")
_OTHER = Refusal("a value of a type that a cell cannot have", "write the column as text")
_DAMAGED = "it is damaged or cut off: get it again, or write it again"


class ParquetRows:
    """An open file. Rows are numbered as if it were saved as CSV: the first is row 2, below the columns' names."""

    def __init__(self, raw: BinaryIO) -> None:
        """Raises ListRefused for a file that cannot be read, and without pyarrow."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ListRefused(
                ["reading Parquet needs pyarrow: install the extra, pip install 'onboarding-worker[parquet]'"]
            ) from None
        self._errors: tuple[type[Exception], ...] = (pyarrow.ArrowException, OSError, OverflowError, ValueError)
        _refuse_huge_footer(raw)
        size = raw.seek(0, 2)
        try:
            footer = _footer(raw)
            groups = groups_in(footer)
            # Read as a stream, a column's pages one after the other, without a second thread.
            self._file: Any = pyarrow.parquet.ParquetFile(
                raw,
                buffer_size=1 << 16,
                pre_buffer=False,
                page_checksum_verification=True,
                thrift_container_size_limit=MOST_LISTED,
            )
            schema: Any = self._file.metadata.schema
            depths = [schema.column(place).max_repetition_level for place in range(len(schema))]
            self.titles: list[str] = list(self._file.schema_arrow.names)
            if any(len(group.chunks) != len(depths) for group in groups):
                raise BadFooter
        except HugeFooter:
            raise ListRefused([f"{WHAT} is refused: it has too many columns, or groups of rows, for a list"]) from None
        except (*self._errors, BadFooter):
            raise ListRefused([f"{WHAT} cannot be opened: {_DAMAGED}"]) from None
        if any(group.size > _LARGEST_CHUNK for group in groups):
            raise ListRefused([f"{WHAT} is refused: a group of its rows is more than 2 GB; write smaller groups"])
        # By its groups: those are read, whatever the file says of all its rows.
        if sum(group.chunks[0].rows for group in groups if group.chunks) > 1_000_000 + _ROWS_OF_A_BYTE * size:
            raise ListRefused([f"{WHAT} is refused: it says it has more rows than a file of its size can have"])
        if sum(chunk.size for group in groups for chunk in group.chunks) > size - len(footer):
            raise ListRefused([f"{WHAT} is refused: the same bytes are several of its columns, or groups of rows"])
        try:
            self._at_once = rows_at_once(raw, groups, depths, self._decompressed)
        except BadPage:
            raise ListRefused([f"{WHAT} is refused: its pages are too large; write smaller pages"]) from None

    def _decompressed(self, codec: int, content: bytes, *, size: int) -> bytes | None:
        import pyarrow

        if codec == 0:
            return content
        name = _CODECS.get(codec)
        try:
            return None if name is None else pyarrow.decompress(content, size, name, asbytes=True)
        except self._errors:
            return None

    def __iter__(self) -> Iterator[Row]:
        """The rows that have a value. Where the file is damaged, the last row is a problem that says so."""
        row = 1
        try:
            for batch in self._file.iter_batches(batch_size=self._at_once, use_threads=False):
                columns = [_texts(column) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    row += 1
                    if any(map(is_filled, cells)):
                        yield row, cells
        except self._errors:
            hint = "write the file again: the rows from here on are not read"
            yield row + 1, FieldProblem("", "the file is damaged here", hint)


def _texts(column: Any) -> list[Cell]:
    """A column's cells as text, as a CSV file would hold them."""
    # Values of the few types that Python has no exact value for, such as nanoseconds, become text in Arrow.
    name = str(column.type)
    if name.startswith("timestamp"):
        return (
            [_moment(value) for value in column.cast("timestamp[us]", safe=False).to_pylist()]
            if ("tz=" not in name)
            else [_no_zone(value) for value in column.is_null().to_pylist()]
        )
    if name in _EXACT:
        return [_float(value, _EXACT[name]) for value in column.to_pylist()]
    return [_text(value) for value in column.to_pylist()]


def _no_zone(is_null: bool) -> Cell:
    return "" if is_null else Refusal("a point in time with a time zone", "write the day alone, as a date or text")


def _moment(value: datetime.datetime | None) -> Cell:
    if value is None:
        return ""
    return value.date().isoformat() if value.time() == datetime.time() else sheet_values.TIME


def _text(value: Any) -> Cell:
    read = _READERS.get(type(value))
    return read(value) if read else _OTHER


def _string(value: str) -> Cell:
    return value if len(value) <= sheet_values.LONGEST_TEXT else sheet_values.TOO_LONG


def _float(value: float | None, exact: int = EXACT) -> Cell:
    if value is None or math.isnan(value):  # how pandas writes an empty cell of a column of numbers
        return ""
    return whole(value, exact=exact)


def _decimal(value: decimal.Decimal) -> Cell:
    return str(int(value)) if value == value.to_integral_value() else _FRACTION


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
    decimal.Decimal: _decimal,
    datetime.date: datetime.date.isoformat,
    list: _list,
    bytes: lambda _bytes: _BYTES,
}


def _refuse_huge_footer(raw: BinaryIO) -> None:
    size = raw.seek(0, 2)
    raw.seek(max(0, size - 8))
    tail = raw.read(8)
    raw.seek(0)
    if size < 12 or tail[4:] != MAGIC:
        encrypted = " (encrypted files are not read)" if tail[4:] == b"PARE" else ""
        raise ListRefused([f"{WHAT} cannot be opened{encrypted}: {_DAMAGED}"])
    if struct.unpack("<I", tail[:4])[0] > min(_LARGEST_FOOTER, size):
        raise ListRefused([f"{WHAT} cannot be opened: {_DAMAGED}"])


def _footer(raw: BinaryIO) -> bytes:
    """The footer of a file that `_refuse_huge_footer` has looked at."""
    end = raw.seek(-8, 2)
    length = struct.unpack("<I", raw.read(4))[0]
    raw.seek(max(0, end - length))
    return raw.read(min(length, end))
