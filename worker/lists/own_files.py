"""Our own files as lists: a report, or a file of problems, that a person has edited in a spreadsheet. Pure. They are
recognised by their columns, in any order. Their own columns are not read as the list's: a report's `account` is the
account that serves a row, and forces none."""

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum

from worker.core.customers.customers import FieldProblem
from worker.core.foundation.notation import unguarded
from worker.lists.lines import RawLine

STATE = "#state"  # a report's column `state`, as a cell of a raw line; no list can name it
_UTC = "_(utc)"  # after the columns with times, in a workbook


class OwnFile(StrEnum):
    REPORT = "report"
    PROBLEMS = "problems"


ERRORS_COLUMNS = ("row", "column", "problem", "hint", "severity")
# Of a report with every option; `customer_id`, and the customer's details, are read.
_REPORT = (
    "row state result reasons account reference issued_at expires_at invitation attempts waits error action route brand"
    " link digits vendor vendor_parameters next_at"
)
REPORT_COLUMNS = frozenset(_REPORT.split())
_NEEDED = {
    # A person may have removed columns that no one needs: two of the others are enough.
    OwnFile.REPORT: ({"row", "customer_id", "state"}, {"invitation", "attempts", "waits", "error", "next_at"}),
    OwnFile.PROBLEMS: ({"row", "column", "problem"}, {"hint", "severity"}),
}


def own_file(titles: Collection[str]) -> OwnFile | None:
    """Which of our files has these titles, as `columns.normal` returns them; None: it is a list of somewhere else."""
    given = {title.removesuffix(_UTC) for title in titles}
    for own, (needed, some) in _NEEDED.items():
        if needed <= given and len(some & given) >= 2:
            return own
    return None


def own_name(own: OwnFile, title: str) -> str | None:
    """The name of a column that is the file's own, "" if it is not read; None: it is a column of the list."""
    title = title.removesuffix(_UTC)
    if own is OwnFile.REPORT:
        return None if title not in REPORT_COLUMNS else STATE if title == "state" else ""
    return "" if title in ERRORS_COLUMNS else None


def as_written(raw: RawLine) -> RawLine:
    """The line without the marks that keep a spreadsheet from running a cell as a formula."""
    if isinstance(raw.cells, FieldProblem):
        return raw
    cells = {name: unguarded(cell) if isinstance(cell, str) else cell for name, cell in raw.cells.items()}
    return replace(raw, cells=cells)
