"""A CSV list as a source of raw lines: encoding and delimiter found, header read, rows numbered."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from worker.core.customers.customers import FieldProblem
from worker.lists.columns import LONGEST_HEADER, nearest, our_name, read_header, too_long_header
from worker.lists.formats.csv_records import DELIMITERS, records
from worker.lists.formats.encoding import find_encoding
from worker.lists.formats.opening import ListBytes
from worker.lists.formats.table import raw_lines
from worker.lists.lines import ListRefused, RawLine
from worker.lists.options import ListOptions

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_MOST_LIKELY, _LONGEST_TITLE = 50, 60  # titles and characters; the search for the nearest name takes time
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class CsvList:
    """One list. It can be iterated several times; each time it is read from the start, one record at a time."""

    def __init__(self, content: ListBytes, options: ListOptions) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        self._bytes = content
        with self._bytes.opened() as raw:
            self._encoding, self.warnings = find_encoding(raw, options.encoding)
        with self._text() as text:
            sample = text.read(LONGEST_HEADER)
            cut = bool(text.read(1))
        marks = len(sample) - len(sample.lstrip("\ufeff"))  # byte order marks behind the first one
        separator = _SEPARATOR_LINE.match(sample, marks)
        # Excel writes and reads a `sep=` line but does not show it: the line has no row number.
        self._skip = separator.end() if separator else marks
        self._line = 2 if separator else 1  # of the file, in which the header or what is above it begins
        self._delimiter = _delimiter(sample[self._skip :], separator[1] if separator else None, options)
        self._header_row, titles = _first_record(sample[self._skip :], self._delimiter, cut=cut, line=self._line)
        self._header = read_header(titles, options)
        self.columns, self.titles = self._header.columns, self._header.titles
        self.guessed = bool(self.warnings) and options.encoding is None  # what it says beyond ASCII may be wrong
        if next(iter(self), None) is None:
            raise ListRefused(["the list has a header, but no row below it"])

    def __iter__(self) -> Iterator[RawLine]:
        delimiter = _shown_delimiter(self._delimiter)
        hint = f"quote cells that hold the delimiter ({delimiter}), or remove the extra cells"
        with self._text() as text:
            text.read(self._skip)
            yield from raw_lines(self._rows(text), self._header, below=self._header_row, hint=hint)

    def originals(self) -> Iterator[tuple[int, list[str]]]:
        """Each row that can be split into cells, with all of its columns."""
        with self._text() as text:
            text.read(self._skip)
            for row, found in self._rows(text):
                if row > self._header_row and not isinstance(found, FieldProblem):
                    yield row, found

    def _rows(self, text: TextIO) -> Iterator[tuple[int, list[str] | FieldProblem]]:
        for row, found in records(text, self._delimiter, line=self._line):
            if isinstance(found, FieldProblem) or "".join(found).strip():  # a blank line still counts as a row
                yield row, found

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
    if known_and_all(best)[0]:
        return best

    def likely(delimiter: str) -> int:
        """How many titles are like ours, in a list of another system: their names are suggested."""
        try:
            titles = _first_record(sample, delimiter)[1][:_MOST_LIKELY]
        except ListRefused:
            return 0
        return sum(1 for title in titles if len(title) <= _LONGEST_TITLE and nearest(title) is not None)

    best = max(DELIMITERS, key=likely)
    return best if likely(best) > 1 else ","


def _first_record(sample: str, delimiter: str, *, cut: bool = False, line: int = 1) -> tuple[int, list[str]]:
    """The header and its row number. Blank lines above it count as rows. `cut`: the list is longer than the sample.
    `line`: the file's line at which the sample begins."""
    all_records = records(io.StringIO(sample, newline=""), delimiter, line=line)
    for row, found in all_records:
        if isinstance(found, FieldProblem):
            raise ListRefused([f"the header cannot be read: {found.problem}; {found.hint}"])
        if not "".join(found).strip():
            continue
        if any("\x00" in title for title in found):
            raise ListRefused(["the header holds NUL characters: the file is binary; save it as CSV (UTF-8)"])
        if cut and next(all_records, None) is None:
            raise ListRefused([too_long_header()])
        return row, found
    raise ListRefused(["the file is empty"])


def _shown_delimiter(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else delimiter
