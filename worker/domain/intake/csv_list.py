"""A CSV list as a source of raw lines: encoding and delimiter found, header read, rows numbered."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from worker.domain.intake.columns import our_name, read_header
from worker.domain.intake.csv_records import DELIMITERS, records
from worker.domain.intake.encoding import find_encoding
from worker.domain.intake.lines import ListRefused, RawLine
from worker.domain.intake.opening import ListBytes
from worker.domain.intake.options import ListOptions
from worker.domain.model.customers import FieldProblem

_SAMPLE = 1 << 17  # characters in which the header must end
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class CsvList:
    """One list. It can be iterated several times; each time it is read from the start, one record at a time."""

    def __init__(self, content: ListBytes, options: ListOptions) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        self._bytes = content
        with self._bytes.opened() as raw:
            self._encoding, self.warnings = find_encoding(raw, options.encoding)
        with self._text() as text:
            sample = text.read(_SAMPLE)
            cut = bool(text.read(1))
        separator = _SEPARATOR_LINE.match(sample)
        # Excel writes and reads a `sep=` line but does not show it: the line has no row number.
        self._skip = separator.end() if separator else 0
        self._delimiter = _delimiter(sample[self._skip :], separator[1] if separator else None, options)
        self._header_row, titles = _first_record(sample[self._skip :], self._delimiter, cut=cut)
        self._header = read_header(titles, options)
        self.columns = self._header.columns
        if next(iter(self), None) is None:
            raise ListRefused(["the list has a header, but no row below it"])

    def __iter__(self) -> Iterator[RawLine]:
        header = self._header
        width = len(header.names)
        some_unused = "" in header.names
        with self._text() as text:
            text.read(self._skip)
            for row, found in records(text, self._delimiter):
                if row <= self._header_row:
                    continue
                if isinstance(found, FieldProblem):
                    yield RawLine(row, found)
                    continue
                if not "".join(found).strip():
                    continue  # a blank line still counts as a row
                stray = self._stray(found) if len(found) > width or header.nameless else None
                if stray:
                    yield RawLine(row, stray)
                    continue
                cells = dict(zip(header.names, found, strict=False))  # missing cells at the end are empty ones
                if some_unused:
                    cells.pop("", None)
                yield RawLine(row, cells)

    def _stray(self, found: list[str]) -> FieldProblem | None:
        """The problem of a row that has values where there is no column."""
        width = len(self._header.names)
        last = max(place for place, cell in enumerate(found) if cell.strip()) + 1
        if last > width:
            return FieldProblem(
                "",
                f"{last} cells, but the header has {width}",
                f"quote cells that hold the delimiter ({_shown_delimiter(self._delimiter)}), or remove the extra cells",
            )
        for place in self._header.nameless:
            if place < len(found) and found[place].strip():
                return FieldProblem(
                    "", f"a value in column {place + 1}, which has no name", "name the column, or empty the cell"
                )
        return None

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        with self._bytes.opened() as raw:
            text = io.TextIOWrapper(raw, encoding=self._encoding, newline="")
            try:
                yield text
            finally:
                text.detach()  # the caller's stream stays open


def _delimiter(sample: str, separator: str | None, options: ListOptions) -> str:
    """The delimiter: of the option, else of the file's `sep=` line, else the one that gives the most known titles."""
    if options.delimiter is not None:
        asked = _NAMED_DELIMITERS.get(options.delimiter.lower(), options.delimiter)
        if len(asked) != 1 or asked in '"\r\n\x00' or asked.isalnum():
            raise ListRefused(["--delimiter: give one character, or tab"])
        return asked
    if separator and separator not in '"\r\n':
        return separator

    def known_and_all(delimiter: str) -> tuple[int, int]:
        try:
            titles = _first_record(sample, delimiter)[1]
        except ListRefused:
            return 0, 0
        return sum(1 for title in titles if title.strip() and our_name(title, options) is not None), len(titles)

    best = max(DELIMITERS, key=known_and_all)  # of equals the first: a comma for a list with one column
    return best if known_and_all(best)[0] else ","


def _first_record(sample: str, delimiter: str, *, cut: bool = False) -> tuple[int, list[str]]:
    """The header and its row number. Blank lines above it count as rows. `cut`: the list is longer than the sample."""
    all_records = records(io.StringIO(sample, newline=""), delimiter)
    for row, found in all_records:
        if isinstance(found, FieldProblem):
            raise ListRefused([f"the header cannot be read: {found.problem}; {found.hint}"])
        if not "".join(found).strip():
            continue
        if any("\x00" in title for title in found):
            raise ListRefused(["the header holds NUL characters: the file is binary; save it as CSV (UTF-8)"])
        if cut and next(all_records, None) is None:
            raise ListRefused([f"the header has more than {_SAMPLE:,} characters: is the file a list?"])
        return row, found
    raise ListRefused(["the file is empty"])


def _shown_delimiter(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else delimiter
