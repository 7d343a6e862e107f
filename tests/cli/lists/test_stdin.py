"""A list on standard input."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.desk.desk import ONBOARD, Desk, Ended, Played, customers
from tests.suite.waiting import ENDS_WITHIN

Send = Callable[..., Ended]
HEADER = "customer_id,email,country\n"
CSV = HEADER + "A-1,one@example.com,LT\nA-2,nobody,LT\n"
JSONL = '\n{"customer_id": "A-1", "email": "one@example.com"}\n{"customer_id": "A-2"}\n'


@pytest.fixture
def send(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Runs a command with something on its standard input."""

    def send(content: str | bytes, *arguments: str) -> Ended:
        raw = content if isinstance(content, bytes) else content.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return desk.onboard(*arguments)

    return send


def test_check_reads_standard_input_and_finds_out_the_format(send: Send, subtests: pytest.Subtests):
    rows = {"total": 2, "accepted": 1, "rejected": 1, "duplicate": 0}
    for content in (CSV, JSONL, "\ufeff" + JSONL, "\ufeff\ufeff" + JSONL, "\ufeff\ufeff" + CSV):
        with subtests.test(content=content):
            assert send(content, "check", "-", "--json").facts["rows"] == rows


def test_the_format_can_be_said(send: Send):
    ended = send(CSV, "check", "-", "--format", "jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert "--format csv" in ended.err


@pytest.mark.parametrize("command", ["run", "import"])
@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_run_and_import_read_it_as_a_batch_named_stdin(send: Send, desk: Desk, command: str, strict: list[str]):
    good = desk.list_of(customers(3))
    content = (desk.path / good).read_bytes()
    first = send(content, command, "-", "--json", *strict)
    assert first.code == 0
    assert (first.facts["name"], first.facts["rows"]["total"]) == ("stdin", 3)
    # The same list is the same batch, wherever it comes from.
    assert desk.onboard(command, good, "--json").facts["batch"] == first.facts["batch"]
    assert send(content, command, "-", "--json").facts["batch"] == first.facts["batch"]


def test_a_list_on_standard_input_is_refused_under_strict_like_any_other(send: Send, played: Played):
    ended = send(CSV, "run", "-", "--strict")
    assert ended.code == 2
    assert "1 of 2 rows" in ended.err
    assert played.calls() == []


def test_what_is_no_list_is_exit_2(send: Send, desk: Desk, subtests: pytest.Subtests):
    for command, content in product(("check", "run", "import"), ("", "\n \n", "PK\x03\x04", HEADER)):
        with subtests.test(command=command, content=content):
            ended = send(content, command, "-")
            assert (ended.code, ended.out) == (2, "")
            assert len(ended.lines) == 1
    assert desk.onboard("status", "--json").facts["batches"] == []


def test_a_wrong_configuration_is_reported_before_anything_is_read(send: Send, desk: Desk):
    desk.add("[nonsense]\nx = 1\n")
    ended = send(CSV, "run", "-")
    assert ended.code == 2
    assert "nonsense" in ended.err
    assert sys.stdin.buffer.read() == CSV.encode()


def test_nothing_of_it_is_left_in_the_place_for_temporary_files(
    send: Send, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert send(CSV, "check", "-").code == 1
    assert list(place.iterdir()) == []


def test_a_list_that_cannot_be_kept_is_exit_2_with_the_reason(send: Send, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", os.devnull)
    ended = send(CSV, "check", "-")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "standard input cannot be kept for reading: Not a directory; set TMPDIR\n"


def test_check_without_a_database_and_without_a_place_for_an_empty_one_is_exit_2(
    desk: Desk, send: Send, monkeypatch: pytest.MonkeyPatch
):
    desk.without_database()
    monkeypatch.setattr(tempfile, "tempdir", os.devnull)
    ended = send(CSV, "check", "-")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "an empty database cannot be made for reading: Not a directory; set TMPDIR\n"


def test_a_closed_standard_input_is_exit_2(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    ended = desk.onboard("check", "-")
    assert (ended.code, ended.out) == (2, "")
    assert "standard input is closed" in ended.err


def test_a_file_named_like_standard_input_can_still_be_given(desk: Desk):
    rows = customers(2)
    desk.list_of(rows, "-")
    assert desk.onboard("check", "./-", "--json").facts["rows"]["accepted"] == 2


def test_a_pipe_of_a_shell_works(desk: Desk):
    process = subprocess.run(
        [ONBOARD, "check", "-", "--json"],
        cwd=desk.path,
        input=CSV.encode(),
        capture_output=True,
        timeout=ENDS_WITHIN,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    assert json.loads(process.stdout)["rows"]["total"] == 2


def test_a_named_pipe_is_refused_with_what_to_do(desk: Desk):
    os.mkfifo(Path(desk.path, "list.csv"))
    for command in ("check", "run", "import"):
        ended = desk.onboard(command, "list.csv")
        assert (ended.code, ended.out) == (2, "")
        assert ended.lines == [
            (
                "list.csv: the list is a pipe, but it must be read more than once: "
                "save it to a file first, or let check, run or import read - from standard input"
            )
        ]
