"""The report as an Excel workbook: written row by row, so that a million rows need no memory. Each text is written as
text: Excel computes none of them, makes no link of one, and keeps the zeros of an id. Times are dates, in UTC."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.reporting.report_lines import TIMES, Columns, cells
from onboarding_worker.reporting.row_groups import headline
from onboarding_worker.reporting.store.report_rows import LineFacts

MOST_ROWS = 1_048_575  # of a sheet, without the header
LONGEST = 32_767  # characters of a cell
WIDTHS = {"customer_id": 18, "reference": 38, "error": 60, "action": 60, "route": 40, "link": 60}
_TIME_WIDTH = 19
OPTIONS = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def write_xlsx(
    out: BinaryIO, facts: dict[str, Any], lines: Iterable[LineFacts], columns: Columns, *, most: int = MOST_ROWS
) -> int:
    """Write the workbook; returns how many lines. `facts`: of `batch_report.status()`; `most`: rows of a sheet."""
    with Workbook(out, OPTIONS) as book:
        bold = book.add_format({"bold": True, "bottom": 1})
        time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        _summary(book.add_worksheet("Summary"), facts, columns, bold, time)
        count, sheet, number = 0, None, 0
        for line in lines:
            if sheet is None or number == most:
                sheet = _rows(book, "Rows" if sheet is None else f"Rows from {count + 1}", columns, bold)
                number = 0
            count, number = count + 1, number + 1
            _row(sheet, number, columns.names, cells(line, columns), time)
        if sheet is None:
            _rows(book, "Rows", columns, bold)
    return count


def write_table(out: BinaryIO, title: str, names: Sequence[str], rows: Iterable[Sequence[str | int | Decimal]]) -> None:
    """Write a workbook with one table: its numbers as numbers, its texts as texts."""
    with Workbook(out, OPTIONS) as book:
        sheet = _sheet(book, title, names, book.add_format({"bold": True, "bottom": 1}))
        sheet.freeze_panes(1, 0)
        for number, row in enumerate(rows, start=1):
            _row(sheet, number, names, row)


def _rows(book: Workbook, name: str, columns: Columns, bold: Format) -> Worksheet:
    sheet = _sheet(book, name, columns.names, bold)
    sheet.freeze_panes(1, 2)
    sheet.autofilter(0, 0, MOST_ROWS, len(columns.names) - 1)
    return sheet


def _sheet(book: Workbook, name: str, columns: Sequence[str], bold: Format) -> Worksheet:
    sheet = book.add_worksheet(name)
    for place, column in enumerate(columns):
        sheet.set_column(place, place, _TIME_WIDTH if column in TIMES else WIDTHS.get(column, 12))
        sheet.write_string(0, place, f"{column} (UTC)" if column in TIMES else column, bold)
    return sheet


def _row(sheet: Worksheet, number: int, names: Sequence[str], row: Sequence[Any], time: Format | None = None) -> None:
    """`time`: how the columns of `TIMES` are shown."""
    for place, (name, value) in enumerate(zip(names, row, strict=True)):
        if not isinstance(value, str):
            sheet.write_number(number, place, value)
        elif value and name in TIMES:
            sheet.write_datetime(number, place, _as_excel(datetime.fromisoformat(value)), time)
        elif value:
            sheet.write_string(number, place, value[:LONGEST])


def _summary(sheet: Worksheet, facts: dict[str, Any], columns: Columns, bold: Format, time: Format) -> None:
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 60)
    said = headline(facts, columns.corrected)
    texts = [("batch", f"{facts['batch']}"), ("list", facts["name"]), ("state", facts["state"])]
    texts += [("", words) for words in (said.sentence, *said.rest)]
    sheet.write_string(0, 0, "Onboarding report", bold)
    for row, (name, value) in enumerate(texts, start=1):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, str(value)[:LONGEST])
    row = len(texts) + 1
    sheet.write_string(row, 0, "as of (UTC)")
    sheet.write_datetime(row, 1, _as_excel(columns.now), time)
    for state in ("total", *JobState, *LineState):
        row += 1
        sheet.write_string(row, 0, f"rows {state}")
        sheet.write_number(row, 1, facts["rows"].get(state, 0))


def _as_excel(at: datetime) -> datetime:
    """Excel knows no time zones: the time in UTC, without its zone."""
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
