"""A list's problems as a CSV file, for the author of the list."""

import csv
from collections.abc import Iterable
from typing import TextIO

from worker.domain.model.customers import FieldProblem
from worker.foundation.spreadsheet_safety import spreadsheet_safe

COLUMNS = ("row", "column", "problem", "hint")


def problems_csv(out: TextIO, problems: Iterable[tuple[int, FieldProblem]]) -> int:
    """Write `row,column,problem,hint`, one line per problem, and return the number of problems.

    Open `out` with `newline=""`, and with `utf-8-sig` so that spreadsheets read it correctly.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    count = 0
    for row, found in problems:
        writer.writerow([row, *map(spreadsheet_safe, (found.column, found.problem, found.hint))])
        count += 1
    return count
