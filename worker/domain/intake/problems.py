"""A list's problems and warnings as a CSV file, for the author of the list."""

import csv
from collections.abc import Iterable
from typing import Literal, TextIO

from worker.domain.model.customers import FieldProblem
from worker.foundation.spreadsheet_safety import spreadsheet_safe

COLUMNS = ("row", "column", "problem", "hint", "severity")
Severity = Literal["error", "warning"]


def problems_csv(out: TextIO, problems: Iterable[tuple[int | None, FieldProblem, Severity]]) -> int:
    """Write `row,column,problem,hint,severity`, one line per problem, and return their number.

    `error`: the row is rejected; `warning`: it is accepted.
    Open `out` with `newline=""`, and with `utf-8-sig` so that spreadsheets read it correctly.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    count = 0
    for row, found, severity in problems:
        writer.writerow([row, *map(spreadsheet_safe, (found.column, found.problem, found.hint)), severity])
        count += 1
    return count
