"""`onboard report`: a line a row of the list, in three forms."""

import io
import json
import os
import shutil
import stat
import subprocess
import threading
import zipfile
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from onboarding_sandbox import Fault
from tests.desk.desk import ONBOARD, Desk, Played, customers
from tests.suite.of_features import of_features
from tests.suite.waiting import ENDS_WITHIN

COLUMNS = [
    "row",
    "customer_id",
    "state",
    "result",
    "reasons",
    "account",
    "reference",
    "issued_at",
    "expires_at",
    "invitation",
    "attempts",
    "waits",
    "error",
    "action",
    "next_at",
]
LIST = (
    "customer_id,email,channel\n"
    "A-1,one@example.com,\n"
    "A-2,nobody,\n"
    "A-1,one@example.com,\n"
    ",four@example.com,\n"
    "A-5,,none\n"
    '"=HYPERLINK(""http://x"")",six@example.com,\n'
)


@pytest.fixture(scope="module")
def sent(shared: tuple[Desk, Played]) -> Path:
    """A folder in which the list was run, to be copied."""
    desk, _ = shared
    assert desk.onboard("run", desk.write("list.csv", LIST)).code == 1
    return desk.path


@pytest.fixture
def ran(bare: Desk, sent: Path) -> Desk:
    shutil.copytree(sent, bare.path, dirs_exist_ok=True)
    return bare


def test_each_row_of_the_list_is_a_line_with_exactly_the_documented_columns(ran: Desk):
    ended = ran.onboard("report", "latest")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.table
    assert list(lines[0]) == COLUMNS
    assert [line["row"] for line in lines] == ["2", "3", "4", "5", "6", "7"]
    assert [line["state"] for line in lines[:5]] == ["invited", "rejected", "duplicate", "rejected", "issued"]
    assert "row 2" in lines[2]["error"]
    assert [bool(line["action"]) for line in lines[:5]] == [False, True, False, True, False]
    assert [line["invitation"] for line in lines[:5]] == ["sent", "none", "none", "none", "none"]
    for name in ("issued_at", "expires_at"):
        assert lines[0][name].endswith("Z")
        assert datetime.fromisoformat(lines[0][name]).tzinfo is not None
        assert lines[1][name] == ""


def test_no_cell_is_a_formula(ran: Desk):
    lines = ran.onboard("report", "latest").table
    assert lines
    for line in lines:
        assert not any(cell.startswith(("=", "+", "@")) for cell in line.values())


def test_as_json_lines_it_has_the_same_columns(ran: Desk):
    ended = ran.onboard("report", "1", "--format", "jsonl")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [list(line) for line in lines] == [COLUMNS] * 6
    assert [line["row"] for line in lines] == [2, 3, 4, 5, 6, 7]
    assert lines[0]["attempts"] == 1


def test_the_form_follows_the_files_ending_and_only_its_owner_can_read_it(ran: Desk):
    for name, begins in (("a.csv", "row,"), ("a.jsonl", '{"row"'), ("a.html", "<!doctype html>"), ("a.txt", "row,")):
        ended = ran.onboard("report", "latest", "--out", name)
        assert (ended.code, ended.out) == (0, "")
        assert "6 rows" in ended.err
        assert (ran.path / name).read_text("utf-8").startswith(begins)
        assert stat.S_IMODE((ran.path / name).stat().st_mode) == 0o600
    assert not list(ran.path.glob("*.part")) + list(ran.path.glob(".*.part"))


def test_a_workbook_opens_with_every_row_and_no_formula(ran: Desk):
    assert ran.onboard("report", "latest", "--out", "report.xlsx").err.startswith("6 rows written")
    piped = subprocess.run([ONBOARD, "report", "latest", "--format", "xlsx"], cwd=ran.path, capture_output=True)
    for content in ((ran.path / "report.xlsx").read_bytes(), piped.stdout):
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            rows = book.read("xl/worksheets/sheet2.xml").decode()
            assert book.testzip() is None
        assert rows.count("<row ") == 1 + 6
        assert "<f>" not in rows
        assert "=HYPERLINK" in rows


def test_a_report_that_cannot_be_written_leaves_the_old_one(ran: Desk):
    ran.onboard("report", "latest", "--out", "report.csv")
    before = (ran.path / "report.csv").read_text()
    ended = ran.onboard("report", "latest", "--out", "nowhere/report.csv")
    assert ended.code == 2
    assert ended.lines == ["--out: nowhere/report.csv: No such file or directory"]
    assert (ran.path / "report.csv").read_text() == before


def test_a_device_or_a_pipe_is_written_to_and_never_replaced(ran: Desk):
    pipe = ran.path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    ended = ran.onboard("report", "latest", "--out", "pipe")
    reader.join(ENDS_WITHIN)
    assert ended.code == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert read[0].startswith("row,")


def test_links_are_shown_only_when_asked_for_and_that_is_noted(ran: Desk, shared: tuple[Desk, Played]):
    tokens = shared[1].tokens
    for form in ("csv", "jsonl", "html"):
        shown = ran.onboard("report", "latest", "--format", form).out
        assert not any(token in shown for token in tokens)
    asked = ran.onboard("report", "latest", "--with-links")
    assert list(asked.table[0]) == [*COLUMNS[:-1], "link", "digits", "vendor", "vendor_parameters", "next_at"]
    assert any(token in asked.table[0]["link"] for token in tokens)
    noted = ran.sql("SELECT subject, reason FROM audit WHERE action = 'report'")
    assert noted == [("batch 1", "with links")]


def test_html_names_what_needs_a_person_and_stops(desk_at, play):
    desk = desk_at(play(faults=(Fault.parse("drop-after:1,endpoint=idenfy-kyc"),)))
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    desk.secret("frankieone_key", "mistyped")
    listed = desk.list_of([*customers(5, au=2), {"customer_id": "bad", "email": "nobody"}])
    assert desk.onboard("run", listed).code == 1
    ended = desk.onboard("report", "latest", "--format", "html")
    page = Page(ended.out)
    assert ended.code == 0
    person = page.section("person")
    for words in ("Account au is stopped", "held", "rejected", "onboard resolve"):
        assert words in person
    assert "au" in page.section("accounts")
    assert "bad" in page.section("all-rows")


def test_html_names_no_end_where_no_process_works(desk_at, play):
    desk = desk_at(play())
    assert desk.onboard("import", desk.list_of(customers(2))).code == 0
    page = desk.onboard("report", "latest", "--format", "html").out
    assert "The last invitation leaves" not in page
    assert "no process is working: `onboard up`" in page


def test_a_reader_that_goes_away_is_no_traceback(ran: Desk):
    process = ran.start("report", "latest")
    assert process.stdout is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(ENDS_WITHIN)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


class Page(HTMLParser):
    """The words of a page, by the section that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._section = ""
        self.sections: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = dict(attrs).get("aria-labelledby") or ""

    def handle_data(self, data: str) -> None:
        self.sections.setdefault(self._section, []).append(data)

    def section(self, name: str) -> str:
        return " ".join("".join(self.sections[name]).split())


def test_a_report_for_excel_has_its_mark_and_semicolons(ran: Desk):
    told = ran.onboard("report", "latest", "--excel", "--out", "report.csv")

    raw = (ran.path / "report.csv").read_bytes()
    assert told.code == 0
    assert raw.startswith(b"\xef\xbb\xbfrow;customer_id;state;")
    assert len(raw.splitlines()) == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--out", "report.xls"), "no report is written as .xls; use .csv, .xlsx, .jsonl or .html"),
        (("--out", "report.html", "--excel"), "--excel is for CSV and XLSX"),
    ],
)
def test_a_report_that_would_not_be_what_its_name_says_is_refused(ran: Desk, options, said: str):
    ended = ran.onboard("report", "latest", *options)

    assert ended.code == 2
    assert said in ended.err
    assert not list(ran.path.glob("report.*"))


def test_a_row_that_waits_says_for_what_and_until_when_and_a_served_row_says_who_serves_it(desk: Desk, played: Played):
    desk.onboard("import", desk.list_of(customers(1), "first.csv"))
    desk.onboard("import", desk.list_of(customers(2), "second.csv"))

    def line(batch: int) -> tuple[str, str, str]:
        found = desk.onboard("report", str(batch)).table[0]
        return found["error"], found["next_at"], found["action"]

    assert line(1) == ("", "", "")
    assert line(2)[0] == "joined_job: joined batch 1, row 2"
    at = "2999-01-01 00:00:00.000000"
    desk.sql("UPDATE budget SET blocked_until = ?, pause_reason = 'HTTP 429' WHERE name = 'kyb'", at)
    assert line(1) == line(2) == ("account_paused: kyc: HTTP 429", "2999-01-01T00:00:00Z", "")
    desk.sql("UPDATE budget SET stopped_at = '2026-01-01', stop_reason = 'HTTP 401' WHERE name = 'kyb'")
    assert line(1)[:2] == ("account_stopped: kyc: HTTP 401", "")
    assert "`onboard account resume kyc`" in line(1)[2]
    desk.onboard("pause", "1")
    error, next_at, action = line(2)
    assert error.startswith("batch_paused: batch 1: paused by ")
    assert (next_at, action) == ("", "`onboard resume 1`")
    desk.onboard("resume", "1")
    desk.sql("UPDATE budget SET stopped_at = NULL, stop_reason = '', blocked_until = NULL")
    assert desk.onboard("run", "first.csv").code == 0
    assert line(1) == ("", "", "")
    assert line(2) == ("", "", "nothing: joined batch 1, row 2")


def test_a_row_that_is_wrong_as_a_whole_has_no_empty_column_in_its_reason(desk: Desk):
    desk.onboard("import", desk.write("long.csv", "customer_id,email\nC-1,a@example.com,too,much\nC-2,b@example.com\n"))
    (line,) = (line for line in desk.onboard("report", "latest").table if line["state"] == "rejected")
    assert line["error"] == "rejected: 4 cells, but the header has 2"


@pytest.mark.parametrize(
    "command",
    [
        ["report", "latest"],
        ["report", "all", "--kind", "nonresponders", "--by", "2030-01-01"],
        ["template", "preview"],
        *of_features("ON_STANDARD_OUTPUT"),
    ],
)
def test_a_dash_is_standard_output_and_no_file_of_that_name(desk: Desk, command: list[str]):
    desk.onboard("import", desk.write("one.csv", "customer_id,email\nC-1,a@example.com\n"))
    ended = desk.onboard(*command, "--out", "-")
    assert (ended.code, bool(ended.out)) == (0, True)
    assert not (desk.path / "-").exists()


@pytest.mark.parametrize(
    "command", [["check", "one.csv", "--errors"], ["status", "--log-file"], *of_features("FILES_BESIDE")]
)
def test_a_file_beside_what_a_command_prints_is_not_named_by_a_dash(desk: Desk, command: list[str]):
    desk.onboard("import", desk.write("one.csv", "customer_id,email\nC-1,a@example.com\n"))
    ended = desk.onboard(*command, "-")
    assert (ended.code, "give a name" in ended.err) == (2, True)
    assert not (desk.path / "-").exists()
