"""The list that `onboard init --list` writes: an example row of each kind, as CSV and as a workbook of text cells."""

import csv
import io

COLUMNS = (
    "customer_id",
    "kind",
    "email",
    "phone",
    "first_name",
    "last_name",
    "company_name",
    "country",
    "locale",
    "channel",
    "date_of_birth",
)
# Reserved addresses, and numbers that are reserved for films. Ofcom's cover mobile phones.
ROWS = (
    ("EXAMPLE-1", "individual", "ona@example.com", "", "Ona", "Petrauskaitė", "", "LT", "lt", "", "1990-12-31"),
    ("EXAMPLE-2", "individual", "", "+447700900123", "John", "Smith", "", "GB", "en", "sms", "1985-02-01"),
    ("EXAMPLE-3", "company", "office@example.com", "", "", "", "Example GmbH", "DE", "de", "email", ""),
)
TEXT = 49  # the number format of text, of the formats that each spreadsheet has


def as_csv() -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([COLUMNS, *ROWS])
    return out.getvalue()


def as_workbook() -> bytes:
    """The same as XLSX. All cells are text, so that the spreadsheet shortens no number and turns no id into a date."""
    import xlsxwriter  # imported here: most commands need no workbook

    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        text = book.add_format({"num_format": TEXT})
        title = book.add_format({"num_format": TEXT, "bold": True})
        sheet = book.add_worksheet("Customers")
        sheet.set_column(0, len(COLUMNS) - 1, 18, text)
        for column, name in enumerate(COLUMNS):
            sheet.write_string(0, column, name, title)
        for row, cells in enumerate(ROWS, start=1):
            for column, cell in enumerate(cells):
                sheet.write_string(row, column, cell, text)
        sheet.freeze_panes(1, 0)
    return out.getvalue()
