"""The rows of a sheet in XML, as a stream: what XLSX and ODS have in common."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from worker.domain.intake.columns import MOST_COLUMNS
from worker.domain.intake.formats.bounded_xml import BrokenXml, Stream, parsed
from worker.domain.intake.formats.table import Cell, Row, is_filled
from worker.domain.intake.lines import ListRefused
from worker.domain.model.customers import FieldProblem

LAST_ROW, LAST_COLUMN = 1_048_576, 16_384  # of a sheet
# A row is not filled up to column 16,384 because of one value there: a list of such rows would take hours.
TOO_WIDE = FieldProblem(
    "", f"values in more than {MOST_COLUMNS:,} columns", "remove the columns that are not about the customer"
)
_HINT = "save it again in a spreadsheet, or get it again: the rows from here on are not read"
T = TypeVar("T")


class Sheet(Protocol[T]):
    """The parser's handlers for one format, and the rows that they have completed."""

    over: bool  # the sheet's end has come

    def start(self, name: str, attributes: dict[str, str], /) -> None: ...
    def end(self, name: str, /) -> None: ...
    def add(self, text: str, /) -> None: ...
    def take(self) -> list[tuple[int, int, T]]:
        """The rows since the last call: the number of the first, how often it is repeated, and what was found."""

    def cells(self, found: T, /) -> list[Cell] | FieldProblem:
        """The row's values from the first column on; cells that are not there are empty."""


def sheet_rows(sheet: Sheet[T], stream: Stream) -> Iterator[Row]:
    """The sheet's rows that have a value, with their numbers in the spreadsheet. Memory is bounded.

    Where the sheet is damaged, the last row is a problem that says so.
    """
    chunks = parsed(stream, sheet.start, sheet.end, sheet.add)
    damage = ""
    last = 0
    while not damage and not sheet.over:
        try:
            if next(chunks, _ENDED) is _ENDED:
                damage = "it has no end"
        except BrokenXml as error:
            damage = error.reason
        except ListRefused as error:
            damage = error.reasons[0]
        # Rows that were complete before the damage are customers too.
        for row, times, found in sheet.take():
            if row <= last or row + times - 1 > LAST_ROW:
                damage = "its rows are not in order" if row <= last else "it has too many rows"
                sheet.over = False
                break
            cells = sheet.cells(found)
            for last in range(row, row + times):
                if isinstance(cells, FieldProblem) or any(map(is_filled, cells)):
                    yield last, cells
    if damage and not sheet.over:
        yield last + 1, FieldProblem("", f"the sheet is damaged here: {damage}", _HINT)


_ENDED = object()
