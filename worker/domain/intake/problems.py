"""What is wrong with a list, as a CSV file that goes back to whoever made the list."""

import csv
from collections.abc import Iterable
from typing import TextIO

from worker.domain.model.customers import FieldProblem
from worker.foundation.spreadsheet_safety import spreadsheet_safe

COLUMNS = ("row", "column", "problem", "hint")


def problems_csv(out: TextIO, problems: Iterable[tuple[int, FieldProblem]]) -> int:
    """Write `row,column,problem,hint`, a line for each problem, and give their number.

    Open `out` with `newline=""`; `utf-8-sig` makes spreadsheets read it rightly.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    count = 0
    for row, found in problems:
        writer.writerow([row, *map(spreadsheet_safe, (found.column, found.problem, found.hint))])
        count += 1
    return count
