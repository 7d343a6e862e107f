"""The formats that this feature reads: a workbook's sheet, or a Parquet file, as a source of raw lines, its typed
cells as text; and the workbook that `onboard init --list` writes."""

import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.features.spreadsheets.read_apart import read_apart
from onboarding_worker.lists.columns import read_header
from onboarding_worker.lists.formats import Form
from onboarding_worker.lists.formats.kind import NAMES
from onboarding_worker.lists.formats.opening import ListBytes
from onboarding_worker.lists.formats.source import ListFormat, is_filled, raw_lines
from onboarding_worker.lists.lines import ListRefused, RawLine
from onboarding_worker.lists.options import ListOptions

_HINT = "remove the extra cells, or name their columns in the first row"

TEXT = 49  # the number format of text, of the formats that each spreadsheet has


class WorkbookList:
    """One list. It can be iterated several times, row by row."""

    def __init__(self, content: ListBytes, options: ListOptions, form: Form) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        for option, given in (("--delimiter", options.delimiter), ("--encoding", options.encoding)):
            if given is not None:
                raise ListRefused([f"{option}: the list is {NAMES[form]}, which has none; leave the option out"])
        self._rows = read_apart(content, form, options.sheet)
        self.warnings = self._rows.warnings
        row, found = next(iter(self._rows), (0, None))
        if found is None:
            raise ListRefused(["the sheet is empty"])
        if isinstance(found, FieldProblem):
            raise ListRefused([f"the header cannot be read: {found.problem}; {found.hint}"])
        titles: list[str] = []
        for place, title in enumerate(found):
            if not isinstance(title, str):
                raise ListRefused([f"the header cannot be read: column {place + 1} is {title.problem}"])
            titles.append(title)
        while titles and not is_filled(titles[-1]):
            titles.pop()
        self._header_row, self._header = row, read_header(titles, options, islice(iter(self._rows), 1, None))
        self.columns, self.titles = self._header.columns, self._header.titles
        if next(iter(self), None) is None:
            raise ListRefused(["the list has a header, but no row below it"])

    def __iter__(self) -> Iterator[RawLine]:
        return raw_lines(iter(self._rows), self._header, below=self._header_row, hint=_HINT)


def template(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """All cells are text, so that the spreadsheet shortens no number and turns no id into a date."""
    import xlsxwriter  # imported here: most commands need no workbook

    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        text = book.add_format({"num_format": TEXT})
        title = book.add_format({"num_format": TEXT, "bold": True})
        sheet = book.add_worksheet("Customers")
        sheet.set_column(0, len(columns) - 1, 18, text)
        for column, name in enumerate(columns):
            sheet.write_string(0, column, name, title)
        for row, cells in enumerate(rows, start=1):
            for column, cell in enumerate(cells):
                sheet.write_string(row, column, cell, text)
        sheet.freeze_panes(1, 0)
    return out.getvalue()


XLSX = ListFormat("xlsx", partial(WorkbookList, form="xlsx"), template)
PARQUET = ListFormat("parquet", partial(WorkbookList, form="parquet"))
