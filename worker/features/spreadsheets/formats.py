"""The formats that this feature reads, and the workbook that `onboard init --list` writes."""

import io
from collections.abc import Sequence
from functools import partial

from worker.features.spreadsheets.workbook_list import WorkbookList
from worker.lists.formats.source import ListFormat

TEXT = 49  # the number format of text, of the formats that each spreadsheet has


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
