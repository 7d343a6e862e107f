"""CSV text to records: bounded in memory, and back in step after a record that cannot be read."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from worker.domain.model.customers import FieldProblem

DELIMITERS = (",", ";", "\t", "|")
LONGEST_RECORD = 1 << 20  # characters; the csv module itself takes at most 131,072 in a cell

_TOO_LONG = FieldProblem(
    "",
    f"the row has more than {LONGEST_RECORD:,} characters",
    "look for a quote that is not closed",
)
_CELL_TOO_LONG = FieldProblem("", "a cell has more than 131,072 characters", "look for a quote that is not closed")
_QUOTES = FieldProblem(
    "", "its quotes do not match", 'close each quoted cell with a quote, and write a quote inside one as ""'
)


class _TooLong(Exception):
    """A record over the limit; not a csv.Error, so that the two are told apart."""


class _TextLines:
    """Lines for the csv module, which can be given back to be read again. Never holds more than a record."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._size = 0

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(LONGEST_RECORD + 1)
        if not line:
            raise StopIteration
        self._taken.append(line)
        self._size += len(line)
        if self._size > LONGEST_RECORD:
            raise _TooLong
        return line

    def next_record(self) -> None:
        self._taken.clear()
        self._size = 0

    def give_back_all_but_the_first(self) -> None:
        self._again.extendleft(reversed(self._taken[1:]))

    def drop_the_rest_of_the_first(self) -> None:
        line = self._taken[0]
        while line and not line.endswith(("\n", "\r")):
            line = self._text.readline(LONGEST_RECORD + 1)  # a line that was cut is always the last one read


def records(text: TextIO, delimiter: str) -> Iterator[tuple[int, list[str] | FieldProblem]]:
    """Each record with its row as a spreadsheet counts: a record is a row, whatever line ends its cells hold,
    and so is a blank line (`[]`). One that cannot be read is a problem in place of cells.

    A quote that is never closed swallows the rows below it. So what a broken record took beyond its first
    line is read again: those rows are customers too.
    """
    lines = _TextLines(text)
    # Strict, since the module otherwise takes all that follows an open quote for one good cell.
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
            found = _CELL_TOO_LONG if "field larger" in str(error) else _QUOTES
            lines.give_back_all_but_the_first()
        except _TooLong:
            found = _TOO_LONG
            lines.give_back_all_but_the_first()
            lines.drop_the_rest_of_the_first()
        yield row, found
