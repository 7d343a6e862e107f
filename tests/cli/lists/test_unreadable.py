"""Files that are no list: each is exit 2, with one line that says what to do, and no batch."""

import gzip
import io
import os
import zipfile

import pytest

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs

CSV = "customer_id,email\nA-1,one@example.com\n"


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (gzip.compress(CSV.encode())[:-4], "the gzip file is damaged or cut off"),
        pytest.param(workbook(), "the workbook cannot be read: it is damaged or cut off", marks=needs("spreadsheets")),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x7fELF\x02\x01\x01" + bytes(200), "binary"),
    ],
    ids=["empty", "gzip", "workbook", "pdf", "binary"],
)
def test_a_file_that_is_no_list_is_exit_2(desk: Desk, content, said):
    ended = desk.onboard("check", desk.write("list.csv", content))
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.lines) == 1
    assert ended.err.startswith("list.csv: ")
    assert said in ended.err


def test_no_command_takes_a_file_that_is_no_list(desk: Desk, played: Played):
    # Reasons begin with "the" too.
    for command, name in (("run", "list.jsonl"), ("import", "the")):
        ended = desk.onboard(command, desk.write(name, b"%PDF-1.7\n"))
        assert (ended.code, ended.out) == (2, "")
        assert len(ended.lines) == 1
        assert ended.err.startswith(f"{name}: ")
    assert desk.onboard("status", "--json").facts["batches"] == []
    assert played.calls() == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.csv", CSV.encode("utf-16-le"), "--encoding utf-16-le"),
        ("list.jsonl", b'{"customer_id": "A-1"}'.decode().encode("utf-16"), "JSON lines must be UTF-8"),
        ("list.csv", b"customer_id,e\x00mail\nA-1,x\n", "NUL characters"),
        ("list.csv", b"x" * 3_000_000, "the header"),
        ("list.csv", b"customer_id,email\n", "no row below it"),
        ("list.jsonl", b"[" + b'"x",' * 800_000 + b'"x"]', "no line of the list is a JSON object"),
    ],
    ids=["utf-16", "utf-16 jsonl", "nul", "no line ends", "header alone", "one long array"],
)
def test_text_that_is_no_list_is_exit_2(desk: Desk, name, content, said):
    ended = desk.onboard("run", desk.write(name, content))
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.lines) == 1
    assert ended.err.startswith(f"{name}: ")
    assert said in ended.err


def test_utf_16_as_spreadsheets_save_it_is_read(desk: Desk):
    assert desk.onboard("check", desk.write("list.csv", CSV.encode("utf-16"))).code == 0


def test_a_row_or_a_line_without_end_is_rejected_alone(desk: Desk):
    long = "x" * 2_000_000
    listed = desk.write("list.csv", f"{CSV}A-2,{long}\nA-3,three@example.com\n")
    assert desk.onboard("check", listed, "--json").facts["rows"] == {
        "total": 3,
        "accepted": 2,
        "rejected": 1,
        "duplicate": 0,
    }
    line = '{"customer_id": "%s", "channel": "none"}\n'
    facts = desk.onboard("check", desk.write("list.jsonl", line % "A-1" + line % long + line % "A-3"), "--json").facts
    assert (facts["rows"]["accepted"], facts["problems"][0]["row"]) == (2, 2)
    assert len(facts["problems"][0]["problem"]) < 80


@pytest.fixture
def unreadable(desk: Desk) -> str:
    """A list that this process may not read, whoever runs the tests."""
    name = desk.list_of(customers(1))
    (desk.path / name).chmod(0)
    return name


def test_a_list_that_may_not_be_read_is_exit_2(desk: Desk, unreadable: str):
    if os.geteuid() == 0:
        pytest.skip("root may read everything; tests/lists/test_opening.py takes another user's part")
    ended = desk.onboard("run", unreadable)
    assert (ended.code, ended.out) == (2, "")
    assert "not readable" in ended.err or "Permission denied" in ended.err


@pytest.mark.parametrize("command", ["check", "run", "import"])
def test_a_directory_is_exit_2(desk: Desk, command: str):
    ended = desk.onboard(command, ".")
    assert (ended.code, ended.out) == (2, "")
    assert "directory" in ended.err


@pytest.mark.parametrize(("name", "shown"), [("n\x1b[2Jew.csv", "n[2Jew.csv"), ("n\udcffew.csv", "new.csv")])
def test_a_files_name_is_kept_without_what_a_terminal_would_not_show(desk: Desk, name: str, shown: str):
    """A stranger may have named it; and one whose name is no UTF-8 was a bug of ours."""
    (desk.path / name).write_text(CSV)
    assert desk.onboard("import", name).code == 0
    assert desk.onboard("status", "1", "--json").facts["name"] == shown
