"""An XLSX workbook: which parts it has, and the rows of one sheet, read as a stream (ECMA-376, part 1, chapter 18)."""

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from worker.domain.intake.columns import MOST_COLUMNS
from worker.domain.intake.formats import sheet_values
from worker.domain.intake.formats.bounded_xml import BrokenXml, Stream, read_whole
from worker.domain.intake.formats.shared_strings import SharedStrings, read_shared_strings, unescaped
from worker.domain.intake.formats.sheet_choice import chosen, hidden_warning
from worker.domain.intake.formats.sheet_rows import LAST_COLUMN, TOO_WIDE, sheet_rows
from worker.domain.intake.formats.table import Cell, Row
from worker.domain.intake.formats.zip_parts import Parts
from worker.domain.intake.lines import ListRefused, Refusal, sheet_error
from worker.domain.model.customers import FieldProblem

WHAT = "the workbook"
_MOST_SHEETS, _MOST_STYLES = 10_000, 100_000
_MOST_RELATED = 2 * _MOST_SHEETS
# Characters that are kept of a cell's kind and style, of a number format, of the name of a sheet or a part. Real ones
# are shorter.
_LONGEST_KIND, _LONGEST_FORMAT, _LONGEST_NAME = 20, 255, 1_000
_NO_ROW = FieldProblem("", "the row cannot be read: its cells are not in order", "save the workbook again")


@dataclass
class Workbook:
    """What is needed to read the cells of the chosen sheet."""

    sheet: str  # the name of its file in the ZIP file
    strings: SharedStrings | None = None
    # By style: how a number is read. None: as a number.
    styles: list[Callable[[str], Cell] | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_workbook(parts: Parts, asked: str | None) -> Workbook:
    """Everything but the rows. Raises ListRefused."""
    root = _targets(parts, "_rels/.rels", "") if "_rels/.rels" in parts.names else {}
    path = next((target for kind, target in root.values() if kind == "officeDocument"), "xl/workbook.xml")
    if path.endswith(".bin"):
        raise ListRefused(["the workbook is binary (XLSB): save it as XLSX"])
    folder, name = posixpath.split(path)
    related = _targets(parts, f"{folder}/_rels/{name}.rels", folder)
    sheets: dict[str, tuple[str, bool]] = {}  # by the name that people see: the file, and whether it is shown
    from_1904 = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal from_1904
        local = name.rpartition(" ")[2]
        if local == "workbookPr":
            from_1904 = attributes.get("date1904") in ("1", "true")
        elif local == "sheet":
            of = next((value for key, value in attributes.items() if key.endswith("relationships id")), "")
            kind, target = related.get(of, ("", ""))
            if kind == "worksheet" and len(sheets) < _MOST_SHEETS:
                title = attributes.get("name", "")[:_LONGEST_NAME]
                sheets[title] = target, attributes.get("state", "visible") == "visible"

    with parts.opened(path) as part:
        read_whole(part, WHAT, start)
    hidden = [name for name, (_, shown) in sheets.items() if not shown]
    sheet = chosen([name for name, (_, shown) in sheets.items() if shown], hidden, asked)
    found = Workbook(sheets[sheet][0], warnings=hidden_warning([name for name in hidden if name != sheet]))
    for kind, target in related.values():
        if kind == "sharedStrings" and target in parts.names:
            with parts.opened(target) as part:
                found.strings = read_shared_strings(part, WHAT)
        elif kind == "styles" and target in parts.names:
            with parts.opened(target) as part:
                found.styles = _read_styles(part, from_1904=from_1904)
    parts.check(found.sheet)
    return found


def _targets(parts: Parts, path: str, folder: str) -> dict[str, tuple[str, str]]:
    """By id: the kind of a related part, and its file in the ZIP file. Parts outside of the file are left out."""
    found: dict[str, tuple[str, str]] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.endswith(" Relationship") and attributes.get("TargetMode") != "External":
            of, kind, target = (attributes.get(part, "")[:_LONGEST_NAME] for part in ("Id", "Type", "Target"))
            path = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            if len(found) < _MOST_RELATED:
                found[of] = kind.rpartition("/")[2], path

    with parts.opened(path) as part:
        read_whole(part, WHAT, start)
    return found


def _read_styles(stream: Stream, *, from_1904: bool) -> list[Callable[[str], Cell] | None]:
    """By style: how its number format reads a number."""
    codes: dict[int, str] = {}
    formats: list[int] = []
    in_cells = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal in_cells
        local = name.rpartition(" ")[2]
        if local == "numFmt" and len(codes) < _MOST_STYLES:
            codes[_whole(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")[:_LONGEST_FORMAT]
        elif local == "cellXfs":
            in_cells = True
        elif local == "xf" and in_cells and len(formats) < _MOST_STYLES:
            formats.append(_whole(attributes.get("numFmtId", "")))

    def end(name: str) -> None:
        nonlocal in_cells
        if name.endswith(" cellXfs"):
            in_cells = False

    read_whole(stream, WHAT, start, end)
    as_day = (lambda written: sheet_values.day(written, from_1904=True)) if from_1904 else sheet_values.day
    readers: list[Callable[[str], Cell] | None] = []
    for number in formats:
        code = codes.get(number)
        if sheet_values.means_day(number, code):
            readers.append(as_day)
        elif zeros := sheet_values.zeros_of(code):
            readers.append(_padded(zeros))
        else:
            readers.append(None)
    return readers


def _padded(zeros: int) -> Callable[[str], Cell]:
    return lambda written: sheet_values.number(written, zeros)


def _whole(written: str) -> int:
    return int(written) if written.isdigit() and written.isascii() and len(written) < 10 else -1


class _Cell:
    """One cell as its XML is read."""

    __slots__ = ("column", "formula", "kind", "size", "style", "text")

    def __init__(self, column: int, kind: str, style: str) -> None:
        self.column, self.kind, self.style = column, kind, style
        self.text: list[str] = []
        self.size = 0
        self.formula = False


def rows(stream: Stream, workbook: Workbook) -> Iterator[Row]:
    """The rows of the workbook's sheet."""
    return sheet_rows(_Sheet(workbook), stream)


class _Sheet:
    """The parser's handlers for a sheet."""

    def __init__(self, workbook: Workbook) -> None:
        self.over = False
        self._workbook = workbook
        self._rows: list[tuple[int, int, list[_Cell]]] = []
        self._cells: list[_Cell] = []
        self._number = 0
        self._cell: _Cell | None = None
        self._collecting = False
        self._silent = 0
        self._columns: dict[str, int] = {}

    def take(self) -> list[tuple[int, int, list[_Cell]]]:
        found, self._rows = self._rows, []
        return found

    def cells(self, found: list[_Cell]) -> list[Cell] | FieldProblem:
        return _row(found, self._workbook)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if local == "c":
            cells = self._cells
            ref = attributes.get("r")
            column = self._column(ref) if ref else (cells[-1].column + 1 if cells else 0)
            kind, style = attributes.get("t", "n"), attributes.get("s", "")
            self._cell = _Cell(column, kind[:_LONGEST_KIND], style[:_LONGEST_KIND])
            cells.append(self._cell)
        elif local in ("v", "t"):
            self._collecting = self._cell is not None and not self._silent
        elif local == "f":
            if self._cell is not None:
                self._cell.formula = True
        elif local == "rPh":
            self._silent += 1
        elif local == "row":
            ref = attributes.get("r")
            self._number = _whole(ref) if ref else self._number + 1
            self._cells = []

    def end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if local in ("v", "t"):
            self._collecting = False
        elif local == "c":
            self._cell = None
            if len(self._cells) > LAST_COLUMN:
                raise BrokenXml("a row has too many cells")
        elif local == "row":
            self._rows.append((self._number, 1, self._cells))
            self._cells = []
        elif local == "rPh":
            self._silent -= 1
        elif local == "sheetData":
            self.over = True

    def add(self, text: str) -> None:
        cell = self._cell
        if self._collecting and cell is not None:
            cell.size += len(text)
            if len(self._cells) > MOST_COLUMNS:  # the row is refused, whatever the cell says
                cell.text = cell.text or [text[:1]]
            elif cell.size <= sheet_values.LONGEST_TEXT:
                cell.text.append(text)

    def _column(self, ref: str) -> int:
        """The index of a cell's column, from a reference such as AB12; -1 for none."""
        letters = ref.rstrip("0123456789")
        found = self._columns.get(letters)
        if found is None:
            if not (letters.isascii() and letters.isalpha() and letters.isupper() and len(letters) <= 3):
                return -1
            number = 0
            for letter in letters:
                number = number * 26 + ord(letter) - 64
            found = self._columns[letters] = number - 1 if number <= LAST_COLUMN else -1
        return found


def _row(cells: list[_Cell], workbook: Workbook) -> list[Cell] | FieldProblem:
    """The values of a row from its first column on; cells that are not there are empty."""
    found: list[Cell] = []
    for cell in cells:
        value = _value(cell, workbook)
        if value == "":
            continue
        if cell.column < len(found):
            return _NO_ROW
        if cell.column >= MOST_COLUMNS:
            return TOO_WIDE
        found.extend([""] * (cell.column - len(found)))
        found.append(value)
    return found


def _value(cell: _Cell, workbook: Workbook) -> Cell:
    if cell.size > sheet_values.LONGEST_TEXT:
        return sheet_values.TOO_LONG
    text = cell.text[0] if len(cell.text) == 1 else "".join(cell.text)
    if not text:
        # A formula may have the empty text as its value, and then it says so.
        return sheet_values.NO_VALUE if cell.formula and cell.kind != "str" else ""
    match cell.kind:
        case "s":
            return workbook.strings[text] if workbook.strings is not None else Refusal("a text that is not there")
        case "inlineStr" | "str":
            return unescaped(text)
        case "n":
            style = _whole(cell.style)
            how = workbook.styles[style] if 0 <= style < len(workbook.styles) else None
            return sheet_values.number(text) if how is None else how(text)
        case "b":
            return {"1": "true", "0": "false"}.get(text, text)
        case "d":
            return sheet_values.iso_day(text)
        case "e":
            return sheet_error(text)
        case _:
            return Refusal("a value of an unknown type", "save the workbook again in a spreadsheet")
