"""What all tests of commands and pages ask of this one."""

from urllib.request import urlopen

import xlsxwriter

from tests.desk.desk import Desk

READS = {"reconcile 1 --provider customers.csv"}
NEEDS = [("reconcile 1 --provider customers.csv", {"KEY"})]
FILES_BESIDE = [["reconcile", "latest", "--provider", "one.csv", "--out"]]


def exports(desk: Desk) -> dict[str, str]:
    """The files that the page gets from the sandbox, and a bill with a column of another name."""
    for name, file in {"idenfy": "idenfy", "twilio": "twilio", "postmark": "smtp"}.items():
        with urlopen(f"{desk.environ['SANDBOX']}/_sandbox/exports/{file}.csv") as answer:  # noqa: S310
            desk.write(f"{name}.csv", answer.read())
    with (desk.path / "twilio.csv").open("a") as log:  # the list has no texts
        log.write("SM00000000000000000000000000000000,delivered\n")
    with xlsxwriter.Workbook(desk.path / "bill.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Verification ref"])
        sheet.write_row(1, 0, ["no-session-of-ours"])
    return {}


PREPARED = [("features/reconcile.md", exports)]
