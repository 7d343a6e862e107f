"""The workbook: what Excel would read from it."""

import io
import re
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.reporting.report_lines import Columns
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.xlsx_report import write_xlsx
from tests.reporting.test_html_report import facts

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOON_IN_EXCEL = 46346.5  # days since 1899-12-30


def cells(lines, *, most=1_000, sheet=2) -> dict[str, tuple[str, str]]:
    """By place: the type of the cell, and its content."""
    out = io.BytesIO()
    assert write_xlsx(out, facts(rows={"invited": len(lines)}), lines, Columns(NOON), most=most) == len(lines)
    with zipfile.ZipFile(out) as book:
        text = book.read(f"xl/worksheets/sheet{sheet}.xml").decode()
        assert not [name for name in book.namelist() if "externalLink" in name]
    found = re.findall(r'<c r="([A-Z]+[0-9]+)"([^>]*)>(.*?)</c>', text)
    return {
        place: (re.sub(r'.*t="(\w+)".*', r"\1", kind), re.sub("<[^>]*>", "", content)) for place, kind, content in found
    }


def test_every_text_stays_the_text_that_it_is(subtests):
    for text in ["=1+1", "+370 600", "-1", "@SUM(A1)", "0012", "1e5", "https://example.com/", "{=1}"]:
        with subtests.test(text=text):
            found = cells([LineFacts(row=2, customer_id=text, state="invited")])
            assert found["B2"] == ("inlineStr", text)


def test_times_are_dates_in_utc_and_numbers_are_numbers():
    line = LineFacts(row=2, customer_id="A-1", state="invited", issued_at=NOON, expires_at=NOON + timedelta(days=7))
    found = cells([line])
    assert found["A2"][1] == "2"
    assert float(found["H2"][1]) == pytest.approx(NOON_IN_EXCEL)
    assert float(found["I2"][1]) == pytest.approx(NOON_IN_EXCEL + 7)
    assert found["H1"][1] == "issued_at (UTC)"


def test_more_rows_than_a_sheet_holds_go_on_in_the_next_sheet():
    lines = [LineFacts(row=row, customer_id=f"A-{row}", state="invited") for row in range(2, 7)]
    assert cells(lines, most=3, sheet=3)["B2"] == ("inlineStr", "A-5")
    assert cells(lines, most=3, sheet=3)["B1"][1] == "customer_id"


def test_the_summary_says_how_the_batch_stands():
    found = cells([LineFacts(row=2, customer_id="A-1", state="invited")], sheet=1)
    assert ("inlineStr", "1 of 1 row is invited; nothing is stuck.") in found.values()


def test_a_big_batch_is_not_kept_in_memory():
    def peak(number: int) -> int:
        named = ((row, f"A-{row}") for row in range(2, number + 2))
        lines = (LineFacts(row=row, customer_id=name, state="invited", reference="r" * 36) for row, name in named)
        tracemalloc.start()
        try:
            write_xlsx(io.BytesIO(), facts(rows={"invited": number}), lines, Columns(NOON))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(2_000) < peak(200) + 300_000  # a row that is kept takes a kilobyte
