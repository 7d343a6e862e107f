"""`onboard report --from`: a period of all batches."""

import csv
import io
import json
import re
import zipfile
from datetime import datetime, timedelta

import pytest

from tests.desk.desk import Desk, Played

LIST = "customer_id,email,country\nA-1,one@example.com,LT\nA-2,two@example.com,LT\n"
OTHER = "customer_id,email,country\nB-1,three@example.com,LT\n"
COLUMNS = ["week", "account", "route", "invited", "finished", "verified", "calls", "messages", "cost_EUR"]


@pytest.fixture(scope="module")
def ran(shared: tuple[Desk, Played]) -> Desk:
    desk, _ = shared
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\nprice = "0.90 EUR"')
    for name, text in (("a.csv", LIST), ("b.csv", OTHER)):
        assert desk.onboard("run", desk.write(name, text), "--yes").code == 0
    return desk


def days(desk: Desk) -> list[str]:
    """From the day before the first message to the day after the last."""
    ((first, last),) = desk.sql("SELECT min(sent_at), max(sent_at) FROM invitation")
    day = timedelta(days=1)
    begins, ends = datetime.fromisoformat(first) - day, datetime.fromisoformat(last) + day
    return ["--from", f"{begins:%Y-%m-%d}", "--to", f"{ends:%Y-%m-%d}"]


def test_a_period_counts_the_rows_of_all_lists(ran: Desk):
    facts = ran.onboard("report", *days(ran), "--json").facts

    assert facts["all"]["invited"] == 3
    assert facts["all"]["messages"] == {"email": 3}
    assert sum(facts["all"]["calls"].values()) == 3
    assert facts["all"]["cost"] == {"EUR": "2.70"}
    assert facts["without_price"] == ["email"]
    for part in ("accounts", "routes", "weeks"):
        assert sum(line["invited"] for line in facts[part].values()) == 3


def test_it_is_a_text_or_a_table(ran: Desk):
    period = days(ran)
    words = ran.onboard("report", "all", *period)
    assert (words.code, words.err) == (0, "")
    assert "2.70 EUR" in words.out
    assert "email" in words.out

    table = list(csv.DictReader(io.StringIO(ran.onboard("report", *period, "--format", "csv").out)))
    assert list(table[0]) == COLUMNS
    assert sum(int(row["invited"]) for row in table) == 3
    lines = [json.loads(line) for line in ran.onboard("report", *period, "--format", "jsonl").out.splitlines()]
    assert sum(line["invited"] for line in lines) == 3
    assert ran.onboard("report", *period, "--out", "november.xlsx").code == 0
    with zipfile.ZipFile(ran.path / "november.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == len(table) + 1
    assert ran.onboard("report", *period, "--excel").out.startswith("\ufeffweek;account;")


def test_it_is_a_page_too_which_needs_nothing_else(ran: Desk):
    assert ran.onboard("report", *days(ran), "--out", "november.html").code == 0
    page = (ran.path / "november.html").read_text("utf-8")
    assert "3 invited, 0 finished" in page
    assert page.count("2.70 EUR") >= 4  # each table ends with the sum
    assert "so not in the cost: email" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|src=|https?://", page)
    empty = ran.onboard("report", "--from", "2001-01-01", "--to", "2001-01-31", "--format", "html")
    assert (empty.code, "0 invited, 0 finished" in empty.out) == (0, True)


def test_a_period_without_anything_says_so(ran: Desk):
    ended = ran.onboard("report", "--from", "2001-01-01", "--to", "2001-01-31")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        ["nothing was invited, finished or bought from 2001-01-01 to 2001-01-31 (UTC, both days included)"],
    )


def test_the_period_ends_today_by_default(ran: Desk):
    facts = ran.onboard("report", "--from", "2001-01-01", "--json").facts
    assert facts["all"]["invited"] == 3
    ((sent,),) = ran.sql("SELECT max(sent_at) FROM invitation")
    assert facts["to"] >= sent[:10]


def test_what_makes_no_sense_is_refused_before_the_database_is_opened(bare: Desk):
    for arguments in (
        ["--from", "2026-12-02", "--to", "2026-12-01"],
        ["--to", "2026-12-01"],
        ["--from", "2026-13-01"],
        ["--from", "9999-12-31"],
        ["--from", "2026-12-01T00:00Z"],
        ["latest", "--from", "2026-12-01"],
        ["--from", "2026-12-01", "--with-links"],
        ["--from", "2026-12-01", "--kind", "nonresponders"],
        ["--from", "2026-12-01", "--format", "html", "--excel"],
        ["--from", "2026-12-01", "--json", "--excel"],
        ["latest", "--json"],
        [],
    ):
        ended = bare.onboard("report", *arguments)
        assert (ended.code, ended.out) == (2, ""), arguments
        assert "Error: " in ended.err
