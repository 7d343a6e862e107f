"""CSV text to records: memory is bounded, and reading goes on correctly after an unreadable record."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from worker.core.customers.customers import FieldProblem
from worker.lists.lines import OpenQuote

DELIMITERS = (",", ";", "\t", "|")
LONGEST_RECORD = 1 << 20  # characters; the csv module itself takes at most 131,072 in a cell
# Characters that may be read again for nothing. A file in which each line opens a quote that the next line seems to
# close would have a whole record read for each of its lines: days for 100 MB.
MOST_AGAIN = 16 * LONGEST_RECORD


_TOO_LONG = FieldProblem(
    "",
    f"the row has more than {LONGEST_RECORD:,} characters",
    "look for a quote that is not closed",
)
_CELL_TOO_LONG = FieldProblem("", "a cell has more than 131,072 characters", "look for a quote that is not closed")
_CLOSE = 'close each quoted cell with a quote, and write a quote inside one as ""'
_QUOTES = FieldProblem("", "its quotes do not match", _CLOSE)


class _TooLong(Exception):
    """A record over the limit; not a csv.Error, so that a caller can distinguish the two."""


class _TextLines:
    """Lines for the csv module; a line can be given back and read again. Never holds more than one record.

    `number` is the file's line in which the record begins, as an editor counts.
    """

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


def records(text: TextIO, delimiter: str, *, line: int = 1) -> Iterator[tuple[int, list[str] | FieldProblem]]:
    """Each record with its row number as a spreadsheet counts: a record is one row, even if its cells hold line
    breaks, and so is a blank line (`[]`). An unreadable record is a problem instead of cells.

    A quote that is never closed swallows the rows below it. So the lines of a broken record after its first line
    are read again: these rows are customers too. Where too much was read again, each line is a record from there on.
    `line`: the file's line at which the text begins.
    """
    lines = _TextLines(text, line)
    # Strict: otherwise the module reads everything after an open quote as one valid cell.
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")
    row = 0
    while True:
        row += 1
        lines.next_record()
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
        yield row, found


def _open_quote(line: int) -> OpenQuote:
    return OpenQuote("", f"a quote is not closed (line {line:,} of the file)", _CLOSE)
