"""Workbooks and ZIP files for tests, written by libraries."""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import xlsxwriter

HEADER = ("customer_id", "email")
ANN = ("A1", "ann@example.com")
BOB = ("A2", "bob@example.com")


def workbook(*rows: Sequence[Any], fill: Callable[[Any, Any], None] | None = None, sheets: Sequence[str] = ()) -> bytes:
    """An XLSX file as a spreadsheet writes it. `fill` gets the workbook and its sheet; `sheets` are further ones."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet("List")
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if isinstance(cell, date):
                    sheet.write_datetime(row, column, cell, day)
                elif isinstance(cell, str):
                    sheet.write_string(row, column, cell)
                else:
                    sheet.write(row, column, cell)
        for name in sheets:
            book.add_worksheet(name)
        if fill:
            fill(book, sheet)
    return out.getvalue()


def csv_of(*rows: Sequence[Any], **how: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(rows)
    return out.getvalue().encode()


def zipped(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return out.getvalue()
