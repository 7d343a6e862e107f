"""A list's warnings by kind, and why its rows were refused, for people: the same in each row is said once. And all
of its problems as a CSV file, for the author of the list: to be mended, and imported again."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TextIO

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.cells import empty_word
from onboarding_worker.lists.columns import ERRORS_COLUMNS, normal
from onboarding_worker.lists.lines import is_of_a_row_above

MOST_KINDS = 1000  # in memory
MOST_WORDS = 30  # shown
NAMED = 3  # rows

Severity = Literal["error", "warning"]
# Halves of surrogate pairs, and what a terminal acts on. No column of a list may have one of them.
_UNFIT = re.compile("[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NO_ROWS: Iterator[tuple[int, Sequence[str]]] = iter(())
Originals = tuple[Sequence[str], Iterator[tuple[int, Sequence[str]]]]


@dataclass
class Kind:
    """One kind of warning: how many rows have it, the numbers of the first, and the warning of the first. Of cells that
    count as empty, the warning says all: how often each word stands in each column."""

    first: FieldProblem
    count: int = 0
    rows: list[int] = field(default_factory=list)
    differs: bool = False  # in the words of another row
    _words: Counter[tuple[str, str]] = field(default_factory=Counter)
    _last: int | None = None

    def add(self, row: int | None, problem: FieldProblem) -> None:
        if row is None or row != self._last:
            self.count += 1
            if row is not None and len(self.rows) < NAMED:
                self.rows.append(row)
        self._last = row
        if not (word := empty_word(problem)):
            self.differs = self.differs or problem != self.first
        elif (problem.column, word) in self._words or len(self._words) < MOST_KINDS:
            self._words[problem.column, word] += 1

    @property
    def problem(self) -> FieldProblem:
        if not self._words:
            return self.first
        said: dict[str, list[str]] = {}
        for (column, word), number in self._words.most_common(MOST_WORDS):
            said.setdefault(column, []).append(f"{word} {number:,}")
        words = [f"{column} {', '.join(each)}" for column, each in said.items()]
        words += ["…"] if len(self._words) > MOST_WORDS else []
        return FieldProblem("", f"cells that count as empty: {'; '.join(words)}", self.first.hint)

    @property
    def in_words(self) -> str:
        """`40 rows (2, 3, 4, …), date_of_birth: 10 characters that are not YYYY-MM-DD (write …)`."""
        named = ", ".join(f"{row}" for row in self.rows)
        where = f"row {named}" if self.rows else ""
        if self.rows and self.count > 1:
            where = f"{self.count:,} rows ({named}{', …' if self.count > len(self.rows) else ''})"
        place = ", ".join(filter(None, (where, self.problem.column))) or "the list"
        hint = f" ({self.problem.hint})" if self.problem.hint else ""
        return f"{place}: {'such as: ' if self.differs else ''}{self.problem.problem}{hint}"


class Warned:
    """The warnings of rows by kind, in the order of their first rows; what comes after the most kinds is not kept. The
    text of a warning describes one value ("the same mailbox as row 7"); its remedy is the same for all values."""

    def __init__(self, found: Iterable[tuple[int | None, FieldProblem]] = ()) -> None:
        self.count = 0  # of the warnings, also of those whose kind is not kept
        self._kinds: dict[tuple[str, str, bool], Kind] = {}
        for row, problem in found:
            self.add(row, problem)

    def add(self, row: int | None, problem: FieldProblem) -> None:
        """Note a warning; without a row, one of the whole list."""
        self.count += 1
        column, remedy = problem.remedy
        key = ("" if empty_word(problem) else column, remedy, row is None)
        if key in self._kinds or len(self._kinds) < MOST_KINDS:
            self._kinds.setdefault(key, Kind(problem)).add(row, problem)

    @property
    def kinds(self) -> list[Kind]:
        return list(self._kinds.values())


class Refusals:
    """The refused rows by their problems. Problems of one column with one remedy count as one reason."""

    def __init__(self) -> None:
        self.rows = 0
        self._found: dict[tuple[str, str], tuple[int, FieldProblem]] = {}

    def add(self, problems: Iterable[FieldProblem]) -> None:
        self.rows += 1
        # The text of a problem describes one value ("22 characters without an @"); the remedy is the same for all.
        for key, problem in {one.remedy: one for one in problems}.items():
            number, first = self._found.get(key, (0, problem))
            self._found[key] = (number + 1, first)

    def top(self, most: int) -> list[tuple[int, FieldProblem]]:
        """The commonest reasons: how many rows, and the problem of the first."""
        return sorted(self._found.values(), key=lambda one: -one[0])[:most]


def problems_csv(
    out: TextIO,
    problems: Iterable[tuple[int | None, FieldProblem, Severity]],
    *,
    originals: Originals = ((), _NO_ROWS),
    delimiter: str = ",",
) -> int:
    """Write `row,column,problem,hint,severity` and the list's own columns, one line per problem; returns their number.

    `problems` are in the order of their rows. `error`: the row is rejected; `warning`: it is accepted. The first line
    of a rejected row has the row's cells (`CustomerList.originals`), once: mended there, the file is a list. Its
    further lines have none, and an import skips them; nor have those of warnings, of rows that are bad only beside a
    row above, and of rows that do not fit the header: written again by its columns, such a row would be another one.
    Open `out` with `newline=""`; spreadsheets read it correctly with `utf-8-sig`.
    """
    titles, rows = originals
    # A file of problems that is checked again has our columns already.
    own = [place for place, title in enumerate(titles) if title and normal(title) not in ERRORS_COLUMNS]
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow([*ERRORS_COLUMNS, *(_cell(titles[place]) for place in own)])
    count, written = 0, 0
    at: tuple[int, Sequence[str]] = (0, ())
    for row, found, severity in problems:
        cells: list[str] = []
        if row is not None and is_of_a_row_above(found):
            written = row  # it has no cells on any line
        is_mendable = severity == "error" and found.column != ""
        if row is not None and is_mendable and row != written:
            while at[0] < row:
                at = next(rows, (row + 1, ()))
            if at[0] == row:
                cells = [_cell(at[1][place]) if place < len(at[1]) else "" for place in own]
                written = row
        texts = map(_cell, (found.column, found.problem, found.hint))
        writer.writerow([row, *texts, severity, *(cells or [""] * len(own))])
        count += 1
    return count


def _cell(text: str) -> str:
    """The text as a file can hold it, and a terminal can show it. JSON and workbooks can name half of a surrogate pair,
    and any list has a stranger's control characters: each becomes a NUL, which is refused where it comes back."""
    return spreadsheet_safe(_UNFIT.sub("\0", text))
