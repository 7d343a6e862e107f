"""The rows of one sheet of an XLSX workbook, read by openpyxl: only in the process that `read_apart` bounds."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, BinaryIO

import openpyxl

from onboarding_worker.core.foundation.notation import printable
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.features.spreadsheets import sheet_values
from onboarding_worker.lists.cells import sheet_error
from onboarding_worker.lists.columns import MOST_COLUMNS
from onboarding_worker.lists.formats.opening import CHUNK, Parts
from onboarding_worker.lists.formats.source import Cell, Row, is_filled
from onboarding_worker.lists.lines import ListRefused

_MOST_NAMED = 20
_LONGEST_NAME = 40  # characters; a spreadsheet allows 31

WHAT = "the workbook"
MOST_ROWS = 200_000
_LAST_ROW = 1_048_576  # of a sheet
_TOO_MANY = f"{WHAT} has more than {MOST_ROWS:,} rows: save it as CSV"
# A row is not filled up to column 16,384 because of one value there.
_TOO_WIDE = FieldProblem(
    "", f"values in more than {MOST_COLUMNS:,} columns", "remove the columns that are not about the customer"
)
# Of the workbook's XML, for each byte of the file; real ones have up to 1.4, and each takes its microseconds to read.
TAGS_OF_A_BYTE = 2
_MORE_OF_AN_EMPTY_ONE = 2  # a cell or a text without content takes the time of three tags
FEW_TAGS = 500_000  # that a file of any size may have
_TOO_MANY_TAGS = f"{WHAT} is refused: it has more cells and texts than a file of its size can have; save it as CSV"
_LONGEST_TEXT = 1 << 20  # bytes between the tags of a sheet; the longest text of a cell needs a third of it
_TOO_LONG = f"{WHAT} is refused: more than a megabyte stands between two tags of a sheet; save it as CSV"
_OUT_OF_ORDER = f"{WHAT} is damaged, its rows are not in order: save it again in a spreadsheet"
# A row, or a cell and whether it is empty. openpyxl leaves out, without a word, what stands behind a higher number.
# The patterns end at the next tag and look at nothing twice, so that no bytes make the search slow.
_PLACE = re.compile(rb'<(?:\w+:)?(?:row|c)\b(?>[^<>]*?\br="([A-Z]*)([0-9]+)")([^<>]*+>(?:</)?+)')
_ROW = re.compile(rb'<(?:\w+:)?row\b(?>[^<>]*?\br="([0-9]+)")?+')
_CONTENT = re.compile(rb"<(?:\w+:)?(?:v|f|is)\b")  # of a cell
# openpyxl takes a formula that no spreadsheet has calculated for an empty cell.
_NO_VALUE = re.compile(rb"<(?:/(?:\w+:)?f|(?:\w+:)?f\b[^<>]*/)>\s*</")


def chosen(names: Sequence[str], hidden: Sequence[str], asked: str | None) -> str:
    """The name of the sheet. `names` are those that a person sees. Raises ListRefused, which names them."""
    if asked is not None:
        every, wanted = (*names, *hidden), _plain(asked)
        found = [name for name in every if name == asked] or [name for name in every if _plain(name) == wanted]
        if len(found) != 1:
            raise ListRefused([f"the workbook has no sheet {_shown(asked)}; it has {_listed(names)}"])
        return found[0]
    if not names:
        raise ListRefused(["the workbook has no sheet that can be seen: show the list's sheet and save it again"])
    if len(names) > 1:
        several = f"the workbook has {len(names):,} sheets, {_listed(names)}"
        raise ListRefused([f"{several}: choose one with --sheet NAME, or save the list alone"])
    return names[0]


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(map(_shown, names[:_MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _shown(name: str) -> str:
    return f'"{printable(name, _LONGEST_NAME)}"'


def read_workbook(raw: BinaryIO, asked: str | None) -> tuple[Iterator[Row], list[str]]:
    """The sheet with the name `asked`, or the only one; and what a person should check. Raises ListRefused, and
    whatever openpyxl raises."""
    has_bare_formulas, last = _looked_through(raw)
    book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
    if not book.worksheets:
        raise ListRefused([f"{WHAT} has no sheet that is read here: save it again as XLSX, not as Strict Open XML"])
    hidden = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    name = chosen([sheet.title for sheet in book.worksheets if sheet.title not in hidden], hidden, asked)
    formulas = openpyxl.load_workbook(raw, read_only=True, keep_links=False)[name] if has_bare_formulas else None
    unread = [title for title in hidden if title != name]
    warnings = [f"hidden sheets are not read: {_listed(unread)}"] if unread else []
    return _rows(book[name], formulas, last), warnings


def _looked_through(raw: BinaryIO) -> tuple[bool, int | None]:
    """Refuse what would take long, and what openpyxl would read wrongly. Returns whether formulas lack a value; and the
    row behind which no sheet has one, as far as their rows say it. A spreadsheet in which whole columns are formatted
    may write a million rows behind that."""
    parts = Parts(raw, WHAT)
    left = max(FEW_TAGS, TAGS_OF_A_BYTE * raw.seek(0, 2))
    has_bare_formulas, last = False, [1]
    for info in parts.files():
        if "\\" in info.filename:
            raise ListRefused([f"{WHAT} names its parts with backslashes: open it in a spreadsheet and save it again"])
        sheet = _Sheet() if info.filename.startswith("xl/worksheets/") else None
        unread = 0  # tags that openpyxl comes to only if content follows
        with parts.opened(info) as read:
            while chunk := read(CHUNK):
                unread += chunk.count(b"<") + _MORE_OF_AN_EMPTY_ONE * chunk.count(b"/>")
                if sheet is None or sheet.look(chunk) or not sheet.last:
                    left, unread = left - unread, 0
                if left < 0:
                    raise ListRefused([_TOO_MANY_TAGS])
        if sheet is not None:
            sheet.look(b"")
            has_bare_formulas |= sheet.has_bare_formulas
            last.append(sheet.last)
    return has_bare_formulas, max(last) if all(last) else None


class _Sheet:
    """What the bytes of a sheet show, chunk by chunk. The last one is empty."""

    def __init__(self) -> None:
        self.has_bare_formulas = False
        self._rest = b""
        self._before = (0, b"")
        self._filled = self._last_filled = self._last = 0
        self._are_numbered, self._is_legible = True, False

    @property
    def last(self) -> int:
        """The row up to which there is content; 0: the rows do not say it, or the XML is in UTF-16."""
        return max(self._last, 1) if self._are_numbered and self._is_legible else 0

    def look(self, chunk: bytes) -> bool:
        """Whether there is content."""
        text = self._rest + chunk
        # The last two tags may be cut off here, and are looked at with what follows.
        end = max(text.rfind(b"<", 0, max(text.rfind(b"<"), 0)), 0) if chunk else len(text)
        self._rest = text[end:]
        if len(self._rest) > _LONGEST_TEXT:
            raise ListRefused([_TOO_LONG])
        has_content = _CONTENT.search(text) is not None
        self.has_bare_formulas = self.has_bare_formulas or (has_content and _NO_VALUE.search(text) is not None)
        self._is_legible = self._is_legible or b"sheetData" in text
        self._are_numbered = self._are_numbered and b"" not in _ROW.findall(text, 0, end)
        # Of rows without content the cells do not matter: those of the first one may belong to a row that has some.
        first = None if has_content else _ROW.search(text, 0, end)
        rows_from = end if first is None else first.start()
        places = _PLACE.findall(text, 0, min(rows_from + 2, len(text)))
        for column, number, more in places + [(b"", row, b"") for row in _ROW.findall(text, rows_from, end) if row]:
            at = (int(number), column.rjust(3) if column else b"")
            if at <= self._before or at[0] > _LAST_ROW:
                raise ListRefused([_OUT_OF_ORDER])
            self._before = at
            if column and not more.endswith((b"/>", b"</")) and at[0] != self._last_filled:
                self._filled, self._last_filled = self._filled + 1, at[0]
        if self._filled > MOST_ROWS + 1:
            raise ListRefused([_TOO_MANY])
        self._last = self._before[0] if has_content else self._last
        return has_content


def _rows(sheet: Any, formulas: Any | None, last: int | None) -> Iterator[Row]:
    sheet.reset_dimensions()  # what the sheet says of its size would cut rows off
    if formulas is not None:
        formulas.reset_dimensions()
    pairs = (
        ((row, ()) for row in sheet.iter_rows(max_row=last))
        if formulas is None
        else zip(sheet.iter_rows(max_row=last), formulas.iter_rows(max_row=last), strict=True)
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
    match value := cell.value:
        case None:
            return ""
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
