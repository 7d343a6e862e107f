"""A list's problems and warnings as a CSV file, for the author of the list: to be mended, and imported again."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TextIO

from worker.core.customers.customers import FieldProblem, is_duplicate
from worker.core.foundation.harmless_text import spreadsheet_safe
from worker.lists.columns import normal
from worker.lists.own_files import ERRORS_COLUMNS as COLUMNS

Severity = Literal["error", "warning"]
# Halves of surrogate pairs, and what a terminal acts on. No column of a list may have one of them.
_UNFIT = re.compile("[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NO_ROWS: Iterator[tuple[int, Sequence[str]]] = iter(())
Originals = tuple[Sequence[str], Iterator[tuple[int, Sequence[str]]]]


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
    further lines have none, and an import skips them; nor have those of warnings, of duplicates, and of rows that do
    not fit the header: written again by its columns, such a row would be another one.
    Open `out` with `newline=""`; spreadsheets read it correctly with `utf-8-sig`.
    """
    titles, rows = originals
    # A file of problems that is checked again has our columns already.
    own = [place for place, title in enumerate(titles) if title and normal(title) not in COLUMNS]
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow([*COLUMNS, *(_cell(titles[place]) for place in own)])
    count, written = 0, 0
    at: tuple[int, Sequence[str]] = (0, ())
    for row, found, severity in problems:
        cells: list[str] = []
        if row is not None and severity == "error" and _is_mendable(found) and row != written:
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
    which has no bytes, and any list has a stranger's control characters: each becomes a NUL, which is refused like it
    where the file comes back unmended."""
    return spreadsheet_safe(_UNFIT.sub("\0", text))


def _is_mendable(problem: FieldProblem) -> bool:
    return problem.column != "" and not is_duplicate(problem)
