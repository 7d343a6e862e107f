"""A CSV list as a source of raw lines: encoding and delimiter found, header read, rows numbered."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.columns import LONGEST_HEADER, nearest, our_name, read_header, too_long_header
from onboarding_worker.lists.formats.kind import find_encoding
from onboarding_worker.lists.formats.opening import ListBytes
from onboarding_worker.lists.formats.source import raw_lines
from onboarding_worker.lists.lines import ListRefused, OpenQuote, RawLine
from onboarding_worker.lists.options import ListOptions

DELIMITERS = (",", ";", "\t", "|")
LONGEST_RECORD = 1 << 20  # characters; the csv module itself takes at most 131,072 in a cell
# Characters that may be read again for nothing. A file in which each line opens a quote that the next line seems to
# close would have a whole record read for each of its lines: days for 100 MB.
MOST_AGAIN = 16 * LONGEST_RECORD
# After so many blank lines those that follow are counted together, in so many characters at once: one by one, a file of
# nothing else takes a minute.
_BLANK, _AT_ONCE = 100, 1 << 16

_TOO_LONG = FieldProblem(
    "", f"the row has more than {LONGEST_RECORD:,} characters", "look for a quote that is not closed"
)
_CELL_TOO_LONG = FieldProblem("", "a cell has more than 131,072 characters", "look for a quote that is not closed")
_CLOSE = 'close each quoted cell with a quote, and write a quote inside one as ""'
_QUOTES = FieldProblem("", "its quotes do not match", _CLOSE)

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_MOST_LIKELY, _LONGEST_TITLE = 50, 60  # titles and characters; the search for the nearest name takes time
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class _TooLong(Exception):
    """A record over the limit; not a csv.Error, so that a caller can distinguish the two."""


class _TextLines:
    """Lines for the csv module; a line can be given back and read again. Never holds more than one record. `number` is
    the file's line in which the record begins, as an editor counts."""

    def __init__(self, text: TextIO, number: int) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._read: list[str] = []
        self._size = 0
        self._to_waste = MOST_AGAIN
        self.number = number

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        if self._read and self._to_waste < 0:
            raise StopIteration  # a record that goes on in the next line is one with an open quote
        line = self._again.popleft() if self._again else self._text.readline(LONGEST_RECORD + 1)
        if not line:
            raise StopIteration
        self._read.append(line)
        self._size += len(line)
        if self._size > LONGEST_RECORD:
            raise _TooLong
        return line

    def next_record(self) -> None:
        self.number += len(self._read)
        self._to_waste += self._size  # reading stays linear: no more is read again than was read
        self._read.clear()
        self._size = 0

    def pass_blank(self) -> int:
        """Passes over the blank lines that follow; returns how many."""
        passed = 0
        while not self._again and (chunk := self._text.read(_AT_ONCE)):
            chunk += self._text.readline(LONGEST_RECORD + 1)  # the rest of a line, or of its end
            rest = chunk.lstrip()
            begin = max(chunk.rfind(end, 0, len(chunk) - len(rest)) for end in "\r\n") + 1
            blank = chunk[:begin]
            passed += blank.count("\r") + blank.count("\n") - blank.count("\r\n")
            self._again.extend(io.StringIO(chunk[begin:], newline=""))
        self.number += passed
        return passed

    def records_at_once(self, delimiter: str) -> list[list[str] | FieldProblem]:
        """The next records, if each of them is one line that can be read; else none, and the lines are read again."""
        if self._again:
            return []
        chunk = self._text.read(_AT_ONCE) + self._text.readline(LONGEST_RECORD + 1)
        lines = [*io.StringIO(chunk, newline="")]
        with suppress(csv.Error):
            found: list[list[str] | FieldProblem] = [*_reader(lines, delimiter)]
            if len(found) == len(lines) and len(chunk) <= LONGEST_RECORD:
                self.number += len(lines)
                self._to_waste += len(chunk)
                return found
        self._again.extend(lines)
        return []

    @property
    def are_several(self) -> bool:
        return len(self._read) > 1

    def give_back_all_but_the_first(self) -> None:
        self._again.extendleft(reversed(self._read[1:]))
        self._to_waste -= self._size - len(self._read[0])
        self._size = len(self._read[0])
        del self._read[1:]

    def drop_the_rest_of_the_first(self) -> None:
        line = self._read[0]
        while line and not line.endswith(("\n", "\r")):
            line = self._text.readline(LONGEST_RECORD + 1)  # a line that was cut is always the last one read


Found = tuple[int, list[str] | FieldProblem]  # a record with its row number


def records(text: TextIO, delimiter: str, *, line: int = 1) -> Iterator[Found]:
    """Each record of `records_together`, with its row number."""
    for first, some in records_together(text, delimiter, line=line):
        yield from enumerate(some, first)


def records_together(
    text: TextIO, delimiter: str, *, line: int = 1
) -> Iterator[tuple[int, Sequence[list[str] | FieldProblem]]]:
    """Records below each other, with the first one's row number as a spreadsheet counts: a record is one row, even if
    its cells hold line breaks, and so is a blank line (`[]`; of many only the first are given). An unreadable record is
    a problem instead of cells. A quote that is never closed swallows the rows below it. So the lines of a broken record
    after its first line are read again: these rows are customers too. Where too much was read again, each line is a
    record from there on. `line`: the file's line at which the text begins."""
    lines = _TextLines(text, line)
    reader = _reader(lines, delimiter)
    row, blank = 1, 0
    while True:
        lines.next_record()
        if blank == _BLANK:
            row, blank = row + lines.pass_blank(), 0
        if row > 1 and (some := lines.records_at_once(delimiter)):
            yield row, some
            row, blank = row + len(some), 0 if any(some) else _BLANK
            continue
        found: list[str] | FieldProblem
        try:
            found = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.are_several or "unexpected end" in str(error):
                found = _open_quote(lines.number)
            else:
                found = _CELL_TOO_LONG if "field larger" in str(error) else _QUOTES
            lines.give_back_all_but_the_first()
        except _TooLong:
            found = _open_quote(lines.number) if lines.are_several else _TOO_LONG
            lines.give_back_all_but_the_first()
            lines.drop_the_rest_of_the_first()
        blank = 0 if found else blank + 1
        yield row, [found]
        row += 1


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    # Strict: otherwise the module reads everything after an open quote as one valid cell.
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")


def _open_quote(line: int) -> OpenQuote:
    return OpenQuote("", f"a quote is not closed (line {line:,} of the file)", _CLOSE)


def _filled(rows: Iterable[Found]) -> Iterator[Found]:
    """The rows without the blank ones, which still count as rows."""
    return (one for one in rows if isinstance(one[1], FieldProblem) or any(map(str.strip, one[1])))


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
        sampled = records(io.StringIO(sample[self._skip :], newline=""), self._delimiter)
        below = ((row, found) for row, found in sampled if row > self._header_row and found)
        self._header = read_header(titles, options, below)
        self.columns, self.titles, self.names = self._header.columns, self._header.titles, self._header.names
        self.guessed = bool(self.warnings) and options.encoding is None  # what it says beyond ASCII may be wrong
        if next(iter(self), None) is None:
            raise ListRefused(["the list has a header, but no row below it"])

    def __iter__(self) -> Iterator[RawLine]:
        return self.raw(self._rows())

    def raw(self, rows: Iterable[Found]) -> Iterator[RawLine]:
        """The lines of these rows."""
        delimiter = "a tab" if self._delimiter == "\t" else self._delimiter
        hint = f"quote cells that hold the delimiter ({delimiter}), or remove the extra cells"
        return raw_lines(_filled(rows), self._header, below=self._header_row, hint=hint)

    def together(self) -> Iterator[tuple[int, Sequence[Any], bool]]:
        """As `records_together`; and whether each of the records is below the header and has all of its cells."""
        width = len(self._header.names)
        with self._text() as text:
            text.read(self._skip)
            for row, some in records_together(text, self._delimiter, line=self._line):
                is_below = row > self._header_row and not self._header.nameless
                yield row, some, is_below and all(type(one) is list and len(one) == width for one in some)

    def originals(self) -> Iterator[tuple[int, list[str]]]:
        """Each row that can be split into cells, with all of its columns."""
        for row, found in _filled(self._rows()):
            if row > self._header_row and not isinstance(found, FieldProblem):
                yield row, found

    def _rows(self) -> Iterator[Found]:
        return (found for first, some, _ in self.together() for found in enumerate(some, first))

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        with self._bytes.opened() as raw:
            text = io.TextIOWrapper(raw, encoding=self._encoding, newline="")
            try:
                yield text
            finally:
                text.detach()  # the caller's stream stays open


def _delimiter(sample: str, separator: str | None, options: ListOptions) -> str:
    """The delimiter: of the option, else of the file's `sep=` line, else the one that gives the most titles that
    are known, or are like ours."""
    if options.delimiter is not None:
        asked = _NAMED_DELIMITERS.get(options.delimiter.lower(), options.delimiter)
        if len(asked) != 1 or asked in '"\r\n\x00' or asked.isalnum():
            raise ListRefused(["--delimiter: give one character, or tab"])
        return asked
    if separator and separator not in '"\r\n':
        return separator

    def fit(delimiter: str) -> tuple[int, int, int]:
        """How many titles are known; if none, how many are like ours, whose names are suggested; and all."""
        try:
            found = _first_record(sample, delimiter)[1]
        except ListRefused:
            return 0, 0, 0
        if known := sum(1 for title in found if title.strip() and our_name(title, options) is not None):
            return known, 0, len(found)
        short = (title for title in found[:_MOST_LIKELY] if len(title) <= _LONGEST_TITLE)
        return 0, sum(1 for title in short if nearest(title) is not None), len(found)

    fits = {delimiter: fit(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=fits.__getitem__)
    return best if fits[best][-1] > 1 else ","  # of a list with one column


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
