"""An OpenDocument spreadsheet: the rows of one of its sheets, read as a stream (ODF 1.3, part 3, chapter 9)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.domain.intake.columns import MOST_COLUMNS
from worker.domain.intake.formats import sheet_values
from worker.domain.intake.formats.bounded_xml import BrokenXml, Stream, read_whole
from worker.domain.intake.formats.sheet_choice import chosen, hidden_warning
from worker.domain.intake.formats.sheet_rows import LAST_COLUMN, TOO_WIDE, sheet_rows
from worker.domain.intake.formats.table import Cell, Row
from worker.domain.intake.formats.zip_parts import Parts
from worker.domain.intake.lines import SHEET_ERRORS, ListRefused, sheet_error
from worker.domain.model.customers import FieldProblem

WHAT = "the spreadsheet"
CONTENT = "content.xml"
_MOST_SHEETS = 10_000
_LONGEST_NAME = 1_000  # characters that are kept of the name of a sheet or a style
_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_TABLE, _TEXT, _OFFICE = f"{_OASIS}table:1.0 ", f"{_OASIS}text:1.0 ", f"{_OASIS}office:1.0 "
_STYLE = f"{_OASIS}style:1.0 "
_CELLS = (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")


@dataclass
class Spreadsheet:
    """Which of its sheets is read, counted from 0."""

    place: int
    warnings: list[str] = field(default_factory=list)


def read_spreadsheet(parts: Parts, asked: str | None) -> Spreadsheet:
    """Reads everything once, for the names of the sheets. Raises ListRefused."""
    if any(name.startswith("META-INF/") and "manifest" in name for name in parts.names):
        _refuse_encrypted(parts)
    names: list[str] = []
    styles: list[str] = []
    invisible: set[str] = set()
    style = ""
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal style, depth
        if name == f"{_TABLE}table":
            depth += 1
            if depth == 1 and len(names) < _MOST_SHEETS:
                names.append(attributes.get(f"{_TABLE}name", "")[:_LONGEST_NAME])
                styles.append(attributes.get(f"{_TABLE}style-name", "")[:_LONGEST_NAME])
        elif name == f"{_STYLE}style":
            style = attributes.get(f"{_STYLE}name", "")[:_LONGEST_NAME]
        elif name == f"{_STYLE}table-properties" and attributes.get(f"{_TABLE}display") == "false":
            invisible.update([style] if len(invisible) < _MOST_SHEETS else [])

    def end(name: str) -> None:
        nonlocal depth
        if name == f"{_TABLE}table":
            depth -= 1

    with parts.opened(CONTENT) as part:
        read_whole(part, WHAT, start, end)
    hidden = [name for name, of in zip(names, styles, strict=True) if of in invisible]
    sheet = chosen([name for name in names if name not in hidden], hidden, asked)
    return Spreadsheet(names.index(sheet), hidden_warning([name for name in hidden if name != sheet]))


def _refuse_encrypted(parts: Parts) -> None:
    found = False

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal found
        found = found or name.endswith(" encryption-data")

    with parts.opened("META-INF/manifest.xml") as part:
        read_whole(part, WHAT, start)
    if found:
        raise ListRefused([f"{WHAT} is protected by a password: save it without one"])


def rows(stream: Stream, spreadsheet: Spreadsheet) -> Iterator[Row]:
    """The rows of the chosen sheet."""
    return sheet_rows(_Sheet(spreadsheet.place), stream)


class _Sheet:
    """The parser's handlers for a sheet."""

    def __init__(self, place: int) -> None:
        self.over = False
        self._rows: list[tuple[int, int, list[Cell] | FieldProblem]] = []
        self._is_wide = False
        self._place, self._sheets = place, 0
        self._inside = False  # of the sheet that is read
        self._tables = 0
        self._next_row, self._times = 1, 1
        self._cells: list[Cell] = []
        self._empty = 0  # cells since the last one with a value
        self._cell: dict[str, str] | None = None
        self._text: list[str] = []
        self._size = 0
        self._paragraphs = 0
        self._notes = 0
        self._collecting = False

    def take(self) -> list[tuple[int, int, list[Cell] | FieldProblem]]:
        found, self._rows = self._rows, []
        return found

    def cells(self, found: list[Cell] | FieldProblem) -> list[Cell] | FieldProblem:
        return found

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == f"{_TABLE}table":
            self._tables += 1
            if self._tables == 1:
                self._inside = self._sheets == self._place
                self._sheets += 1
            return
        if not self._inside or self.over or self._tables > 1:
            return
        if name in _CELLS:
            self._cell = attributes
            self._text, self._size, self._paragraphs = [], 0, 0
        elif name == f"{_TABLE}table-row":
            self._times = _count(attributes, f"{_TABLE}number-rows-repeated")
            self._cells, self._empty, self._is_wide = [], 0, False
        elif name == f"{_OFFICE}annotation":
            self._notes += 1
        elif self._cell is not None and not self._notes:
            if name == f"{_TEXT}p":
                if self._paragraphs:
                    self._put("\n")
                self._paragraphs += 1
                self._collecting = True
            elif name == f"{_TEXT}s":
                self._put(" " * min(_count(attributes, f"{_TEXT}c"), sheet_values.LONGEST_TEXT + 1))
            elif name == f"{_TEXT}tab":
                self._put("\t")
            elif name == f"{_TEXT}line-break":
                self._put("\n")

    def end(self, name: str) -> None:
        if name == f"{_TABLE}table":
            self._tables -= 1
            if self._tables == 0 and self._inside:
                self._inside, self.over = False, True
            return
        if not self._inside or self._tables > 1:
            return
        if name in _CELLS and self._cell is not None:
            self._end_cell(self._cell)
            self._cell = None
        elif name == f"{_TABLE}table-row":
            if self._cells:
                self._rows.append((self._next_row, self._times, TOO_WIDE if self._is_wide else self._cells))
            self._next_row += self._times
            self._cells = []
        elif name == f"{_OFFICE}annotation":
            self._notes -= 1
        elif name == f"{_TEXT}p" and not self._notes:
            self._collecting = False

    def add(self, text: str) -> None:
        if self._collecting and not self._notes:
            self._put(text)

    def _put(self, text: str) -> None:
        self._size += len(text)
        if self._size <= sheet_values.LONGEST_TEXT:
            self._text.append(text)

    def _end_cell(self, attributes: dict[str, str]) -> None:
        times = _count(attributes, f"{_TABLE}number-columns-repeated")
        value = self._value(attributes)
        if value == "":
            self._empty += times
            return
        if len(self._cells) + self._empty + times > LAST_COLUMN:
            raise BrokenXml("a row has too many cells")
        if len(self._cells) + self._empty + times > MOST_COLUMNS:
            self._is_wide = True
            self._cells = self._cells or [value]
            return
        self._cells.extend([""] * self._empty)
        self._cells.extend([value] * times)
        self._empty = 0

    def _value(self, attributes: dict[str, str]) -> Cell:
        if self._size > sheet_values.LONGEST_TEXT:
            return sheet_values.TOO_LONG
        text = "".join(self._text)
        match attributes.get(f"{_OFFICE}value-type", ""):
            case "float" | "currency" | "percentage":
                # Shown as 00042 with such a format; the format is in a style, and the text is what a person sees.
                written = attributes.get(f"{_OFFICE}value", "")
                zeros = len(text) if text.isdigit() and text.startswith("0") else 0
                return sheet_values.number(written, min(zeros, sheet_values.MOST_DIGITS))
            case "date":
                return sheet_values.iso_day(attributes.get(f"{_OFFICE}date-value", ""))
            case "boolean":
                return attributes.get(f"{_OFFICE}boolean-value", "")
            case "time":
                return sheet_values.TIME
            case "" if f"{_TABLE}formula" in attributes and not text:
                return sheet_values.NO_VALUE
            case _:
                return sheet_error(text) if text.startswith("#") and text in SHEET_ERRORS else text


def _count(attributes: dict[str, str], name: str) -> int:
    """How many times something is repeated; 1 if nothing says so."""
    written = attributes.get(name, "1")
    if not (written.isdigit() and written.isascii() and len(written) < 10):
        raise BrokenXml("it repeats something an unclear number of times")
    return int(written)
