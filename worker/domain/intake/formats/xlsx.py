"""The rows of one sheet of an XLSX workbook, read by openpyxl: only in the process that `read_apart` bounds."""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Any, BinaryIO

import openpyxl

from worker.domain.intake.columns import MOST_COLUMNS
from worker.domain.intake.formats import sheet_values
from worker.domain.intake.formats.sheet_choice import chosen, hidden_warning
from worker.domain.intake.formats.table import Cell, Row, Table, is_filled
from worker.domain.intake.formats.zip_parts import CHUNK, Parts, bound, too_much
from worker.domain.intake.lines import ListRefused, sheet_error
from worker.domain.model.customers import FieldProblem

WHAT = "the workbook"
MOST_ROWS = 200_000
_LAST_ROW = 1_048_576  # of a sheet
_TOO_MANY = f"{WHAT} has more than {MOST_ROWS:,} rows: save it as CSV"
# A row is not filled up to column 16,384 because of one value there.
_TOO_WIDE = FieldProblem(
    "", f"values in more than {MOST_COLUMNS:,} columns", "remove the columns that are not about the customer"
)
# A row, or a cell and whether it is empty. openpyxl leaves out, without a word, what stands behind a higher number.
_PLACE = re.compile(rb'<(?:\w+:)?(?:row|c)\b[^>]*?\br="([A-Z]*)([0-9]+)"[^>]*?(/?)>')
# openpyxl takes a formula that no spreadsheet has calculated for an empty cell.
_NO_VALUE = re.compile(rb"<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*</")


def read_workbook(raw: BinaryIO, asked: str | None) -> Table:
    """The sheet with the name `asked`, or the only one. Raises ListRefused, and whatever openpyxl raises."""
    has_bare_formulas = _looked_through(raw)
    book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
    if not book.worksheets:
        raise ListRefused([f"{WHAT} has no sheet that is read here: save it again as XLSX, not as Strict Open XML"])
    hidden = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    name = chosen([sheet.title for sheet in book.worksheets if sheet.title not in hidden], hidden, asked)
    formulas = openpyxl.load_workbook(raw, read_only=True, keep_links=False)[name] if has_bare_formulas else None
    return Table(_rows(book[name], formulas), hidden_warning([title for title in hidden if title != name]))


def _looked_through(raw: BinaryIO) -> bool:
    """Refuse what would take long, and what openpyxl would read wrongly. Returns whether formulas lack a value."""
    parts = Parts(raw, WHAT)
    has_bare_formulas = False
    for info in parts.files():
        if "\\" in info.filename:
            raise ListRefused([f"{WHAT} names its parts with backslashes: open it in a spreadsheet and save it again"])
        if info.flag_bits & 0x1:
            raise ListRefused([f"{WHAT} is protected by a password: save it without one"])
        if info.file_size > bound(info.compress_size):
            raise ListRefused([too_much(WHAT)])
        if info.filename.startswith("xl/worksheets/"):
            has_bare_formulas |= _sheet_looked_through(parts, info.filename)
    return has_bare_formulas


def _sheet_looked_through(parts: Parts, name: str) -> bool:
    has_bare_formulas = False
    before = (0, b"")
    filled = last_filled = 0
    rest = b""
    with parts.opened(name) as part:
        while (chunk := part.read(CHUNK)) or rest:
            text = rest + chunk
            # Up to the last cell: it may be cut off here, and is looked at with what follows.
            end = max(map(text.rfind, (b"<row", b"<c", b":row", b":c"))) if chunk else len(text)
            text, rest = text[: max(end, 0)], text[max(end, 0) :]
            has_bare_formulas |= _NO_VALUE.search(text) is not None
            for column, number, is_empty in _PLACE.findall(text):
                at = (int(number), column.rjust(3) if column else b"")
                if at <= before or at[0] > _LAST_ROW:
                    raise ListRefused([f"{WHAT} is damaged, its rows are not in order: save it again in a spreadsheet"])
                before = at
                if column and not is_empty and at[0] != last_filled:
                    filled, last_filled = filled + 1, at[0]
            if filled > MOST_ROWS + 1:
                raise ListRefused([_TOO_MANY])
    return has_bare_formulas


def _rows(sheet: Any, formulas: Any | None) -> Iterator[Row]:
    sheet.reset_dimensions()  # what the sheet says of its size would cut rows off
    if formulas is not None:
        formulas.reset_dimensions()
    pairs = (
        ((row, ()) for row in sheet.iter_rows())
        if formulas is None
        else zip(sheet.iter_rows(), formulas.iter_rows(), strict=True)
    )
    filled = 0
    for number, (cells, uncalculated) in enumerate(pairs, start=1):
        found = [_cell(cell) for cell in cells]
        for place, formula in enumerate(uncalculated):
            if formula.data_type == "f" and cells[place].value is None and cells[place].data_type != "str":
                found[place] = sheet_values.NO_VALUE
        while found and not is_filled(found[-1]):
            found.pop()
        if not found:
            continue
        filled += 1
        if filled > MOST_ROWS + 1:  # one is the header
            raise ListRefused([_TOO_MANY])
        yield number, found if len(found) <= MOST_COLUMNS else _TOO_WIDE


def _cell(cell: Any) -> Cell:
    value = cell.value
    if value is None:
        return ""
    match value:
        case str():
            return sheet_error(value) if cell.data_type == "e" else sheet_values.text(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return sheet_values.number(value, _zeros_of(cell.number_format))
        case date():  # a datetime is one, too
            return sheet_values.day(value)
        case _:
            return sheet_values.TIME


_zeros_of = lru_cache(sheet_values.zeros_of)
