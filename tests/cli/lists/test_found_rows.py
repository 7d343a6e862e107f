"""What `check` finds in a list, more than is kept in memory: to be read again as it was added."""

import json

import pytest

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.lists import found_rows
from onboarding_worker.cli.lists.found_rows import FoundRows, Streamed
from onboarding_worker.core.model.customers import FieldProblem

ADDED = [(None, FieldProblem("", "it is odd")), *((row, FieldProblem("email", f"ė\n{row}", "a")) for row in range(7))]


@pytest.fixture
def found(monkeypatch) -> FoundRows:
    monkeypatch.setattr(found_rows, "_IN_MEMORY", 100)
    found = FoundRows()
    for row, problem in ADDED:
        found.add(row, problem)
    return found


def test_all_that_was_added_is_read_again_and_again(found):
    assert (list(found), list(found), len(found), bool(FoundRows())) == (ADDED, ADDED, 8, False)


def test_it_is_written_as_json_as_a_list_would_be(found):
    both = Streamed(found, FoundRows(), found)
    plain = [{"row": row, "column": one.column, "problem": one.problem, "hint": one.hint} for row, one in 2 * ADDED]
    assert json.loads("".join(json.JSONEncoder().iterencode({"a": both, "b": Streamed()}))) == {"a": plain, "b": []}


def test_a_full_disk_is_named(monkeypatch, found):
    def write(_line: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(found._kept, "write", write)
    with pytest.raises(CannotStart, match="No space left on device; set TMPDIR"):
        found.add(9, FieldProblem("email", "none"))
