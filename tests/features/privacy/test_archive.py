"""`onboard archive`: saves a batch as a file, and may remove it from the database; the commands then say so."""

import io
import json
import os
import sys
from contextlib import closing

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow, SkippedLine
from tests.desk.desk import Desk, Played, customers


def finish(desk: Desk) -> None:
    """All customers have finished, long ago."""
    desk.sql("UPDATE job SET state = 'completed', result = 'approved', due_at = NULL")
    desk.sql("UPDATE session SET state = 'completed'")


@pytest.fixture
def listed(desk: Desk) -> str:
    name = desk.list_of([*customers(3, au=1), {"customer_id": "A-9", "email": "nobody"}])
    assert desk.onboard("run", name).code == 1  # a row is rejected
    return name


def rows_left(desk: Desk) -> int:
    tables = (Job, SessionRow, InvitationRow, Attempt, SkippedLine)
    with closing(Database(f"sqlite:///{desk.path / 'onboarding.db'}")) as database, database.read() as connection:
        return sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables)


def test_a_batch_is_written_whole_without_links_or_tokens_and_stays(desk: Desk, played: Played, listed: str):
    before = rows_left(desk)
    ended = desk.onboard("archive", "latest", "--out", "batch.jsonl", "--json")
    assert (ended.code, ended.facts) == (0, {"batch": 1, "rows": 4, "purged": False, "removed": 0})
    text = (desk.path / "batch.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["state"] for line in lines] == ["invited", "invited", "invited", "rejected"]
    assert all("route" in line and "link" not in line for line in lines)
    assert not any(token in text for token in played.tokens)
    assert rows_left(desk) == before


def test_a_purged_batch_keeps_its_totals_and_every_command_says_that_its_rows_are_gone(desk: Desk, listed: str):
    finish(desk)
    before = desk.onboard("status", "1", "--json").facts
    ended = desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge", "--yes")
    assert ended.code == 0, ended.err
    assert "4 rows removed" in ended.out
    assert rows_left(desk) == 0
    after = desk.onboard("status", "1", "--json").facts
    assert after.pop("purged_at").endswith("Z")
    assert after == before
    assert "purged on" in desk.onboard("status", "1").out
    assert "purged" in desk.onboard("status").out
    for command in (("report",), ("retry",), ("resolve", "--repeat"), ("pause",), ("cancel", "--yes")):
        refused = desk.onboard(command[0], "1", *command[1:])
        assert (refused.code, refused.out) == (2, ""), command
        assert "its rows are gone; `onboard status 1`" in refused.err


def test_the_file_has_its_name_on_the_disk_before_the_rows_leave_the_database(desk: Desk, listed: str, monkeypatch):
    finish(desk)
    synced: list[tuple[bool, bool, bool]] = []

    def fsync(descriptor: int) -> None:
        is_folder = os.path.samestat(os.fstat(descriptor), desk.path.stat())
        synced.append((is_folder, (desk.path / "batch.jsonl").exists(), rows_left(desk) > 0))

    monkeypatch.setattr(os, "fsync", fsync)
    assert desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge", "--yes").code == 0
    assert synced == [(False, False, True), (True, True, True)]


def test_the_list_of_a_purged_batch_is_imported_again_only_with_again_and_skips_customers_who_have_finished(
    desk: Desk, played: Played, listed: str
):
    finish(desk)
    desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge", "--yes")
    calls = len(played.calls())
    refused = desk.onboard("run", listed)
    assert (refused.code, refused.out) == (2, "")
    assert "--again" in refused.err
    again = desk.onboard("run", listed, "--again", "--json")
    assert again.facts["rows"]["completed"] == 3
    assert len(played.calls()) == calls


def test_a_batch_that_is_not_over_is_neither_purged_nor_written(desk: Desk, listed: str):
    refused = desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge", "--yes")
    assert refused.code == 2
    assert "batch 1 cannot be purged: row 2 is not over; `onboard report 1`" in refused.err
    assert not (desk.path / "batch.jsonl").exists()


def test_a_cancelled_batch_is_not_purged_while_a_link_of_it_opens_and_the_help_says_so(desk: Desk, listed: str):
    desk.onboard("cancel", "1", "--yes")
    refused = desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge", "--yes")
    assert "row 2 has a session that still opens; `onboard report 1`" in refused.err
    assert "none of its links opens any more" in " ".join(desk.onboard("archive", "--help").out.split())


def test_an_archive_does_not_write_over_a_file(desk: Desk, listed: str):
    desk.write("batch.jsonl", "mine")
    refused = desk.onboard("archive", "1", "--out", "batch.jsonl")
    assert refused.code == 2
    assert "name another file" in refused.err
    assert (desk.path / "batch.jsonl").read_text() == "mine"


def test_a_purge_that_is_not_confirmed_removes_nothing(desk: Desk, listed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    finish(desk)
    before = rows_left(desk)
    refused = desk.onboard("archive", "1", "--out", "batch.jsonl", "--purge")
    assert refused.code == 1
    assert "nothing was changed" in refused.err
    assert rows_left(desk) == before
