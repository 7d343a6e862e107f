"""The lines of a report: each cell stands below its own column, whichever columns were asked for."""

import csv
import io
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from onboarding_worker.core.model.customers import Details, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.lists.columns import REPORT_COLUMNS
from onboarding_worker.reporting.report_lines import DETAILS, TIMES, Columns, line_values, write_csv
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.xlsx_report import write_xlsx
from tests.reporting.test_html_report import facts

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LINE = LineFacts(
    row=2,
    customer_id="A-1",
    state="invited",
    account="kyc",
    route="the first of its route",
    reference="ref",
    issued_at=NOON,
    expires_at=NOON + timedelta(days=7),
    invitation="sent",
    attempts=1,
    waits=3,
    late="other-ref",
    opening=Opening("https://id.example/a", "123456", "vendor", {"token": "t"}),
    purpose="onboarding",
    details=Details(Person(email="one@example.com", first_name="Ona"), country="LT"),
)
ANY = [
    Columns(NOON, links=links, routes=routes, details=details)
    for links, routes, details in product((False, True), (False, True), (None, (), ("branch",)))
]


def test_a_held_row_is_resolved_in_the_batch_of_the_row_that_serves_its_customer():
    held = LineFacts(row=2, customer_id="A-1", state="held", reason="conflict", served_by=1)
    assert "`onboard resolve 1`" in line_values(held, Columns(NOON, batch="2"))["action"]
    failed = replace(held, state="failed", reason="attempts_spent")
    assert "`onboard retry 2`" in line_values(failed, Columns(NOON, batch="2"))["action"]


@pytest.mark.parametrize("columns", ANY, ids=lambda columns: "-".join(columns.names[13:-1]) or "none")
def test_each_cell_of_a_table_stands_below_its_own_column(columns):
    values = line_values(LINE, columns)
    assert len(columns.names) == len(set(columns.names))
    assert set(values) == set(columns.names)

    out = io.StringIO()
    write_csv(out, [LINE], columns)
    out.seek(0)
    assert list(csv.DictReader(out)) == [{name: str(value) for name, value in values.items()}]

    assert workbook(columns) == {name: str(value) for name, value in values.items() if value and name not in TIMES}


def workbook(columns):
    """By column: the cells of the workbook's row that are no dates."""
    out = io.BytesIO()
    write_xlsx(out, facts(rows={"invited": 1}), [LINE], columns)
    with zipfile.ZipFile(out) as book:
        sheet = book.read("xl/worksheets/sheet2.xml").decode()
    found = {
        place: re.sub("<[^>]*>", "", content).replace("&quot;", '"')
        for place, content in re.findall(r'<c r="([A-Z]+[0-9]+)"[^>]*>(.*?)</c>', sheet)
    }
    titles = {place[:-1]: title for place, title in found.items() if place.endswith("1")}
    row = {titles[place[:-1]]: text for place, text in found.items() if place.endswith("2")}
    return {title: text for title, text in row.items() if not title.endswith(" (UTC)")}


def test_a_time_that_is_not_known_is_an_empty_cell():
    values = line_values(replace(LINE, issued_at=None), Columns(NOON, as_dates=True))
    assert values["issued_at"] == ""
    assert values["expires_at"] == "2026-11-27 12:00:00"


def test_a_report_that_comes_back_is_known_by_its_own_columns():
    everything = Columns(NOON, links=True, routes=True, details={"branch"})
    assert set(everything.names) - {"customer_id", *DETAILS, "message.branch"} == REPORT_COLUMNS
