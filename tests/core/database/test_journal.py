"""The file beside the database keeps what people asked for, whatever happens to it or beside it."""

import json
import multiprocessing
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.journal import JOURNAL, LONGEST, Happened, Journal, Note, note, read
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
ONA, JONAS = "1234abcd" + "0" * 56, "1234abcd" + "f" * 56
SUPPRESSED = Note(Happened.SUPPRESSED, ONA, AT, Channel.EMAIL, SuppressionReason.STOP)
ERASED = Note(Happened.ERASED, JONAS, AT, as_of=AT, final=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onboarding.journal"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(path, lambda: AT)


def test_what_was_noted_is_read_again_and_only_the_owner_may_read_it(journal, path):
    lifted = Note(Happened.LIFTED, ONA, AT)
    journal.add([SUPPRESSED, ERASED])
    journal.add([lifted])
    assert read(path) == ([SUPPRESSED, ERASED, lifted], 0)
    assert all(path.read_bytes().splitlines())  # a line for each, and no empty one
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_line_is_on_the_disk_and_so_is_the_name_of_a_new_file(journal, monkeypatch):
    synced, to_disk = [], os.fsync

    def note_and_sync(descriptor):
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        to_disk(descriptor)

    monkeypatch.setattr(os, "fsync", note_and_sync)
    journal.add([SUPPRESSED])
    assert synced == ["file", "folder"]
    journal.add([ERASED])
    assert synced == ["file", "folder", "file"]


def test_a_line_that_was_cut_off_costs_no_other_line(journal, path):
    journal.add([SUPPRESSED, ERASED])
    path.write_bytes(path.read_bytes()[:-20])
    journal.add([ERASED])
    assert read(path) == ([SUPPRESSED, ERASED], 1)


@pytest.mark.parametrize(
    "hostile",
    [
        b"no json",
        b"[]",
        b"[" * 900,
        b"\xff\xfe",
        b"{}",
        b"x" * 100_000,
        json.dumps(
            {"what": "erased", "digest": 7, "at": AT.isoformat(), "as_of": AT.isoformat(), "final": True}
        ).encode(),
        json.dumps({"what": "erased", "digest": "../x", "at": AT.isoformat(), "as_of": "x", "final": True}).encode(),
        json.dumps({"what": "lifted", "digest": ONA, "at": "2026-11-20T09:00:00"}).encode(),
        json.dumps({"what": "lifted", "digest": ONA, "at": "noon"}).encode(),
        json.dumps(
            {"what": "suppressed", "digest": ONA, "at": AT.isoformat(), "channel": "fax", "reason": "x"}
        ).encode(),
        json.dumps({"what": "bought", "digest": ONA, "at": AT.isoformat()}).encode(),
    ],
)
def test_what_is_no_note_is_counted_and_harms_no_note(journal, path, hostile):
    path.write_bytes(hostile + b"\n")
    journal.add([SUPPRESSED])
    notes, damaged = read(path)
    assert notes == [SUPPRESSED]
    assert damaged


def test_an_empty_line_is_no_damage_and_a_longer_one_than_ours_is(journal, path):
    journal.add([SUPPRESSED])
    written = path.read_bytes()
    path.write_bytes(b"\n" + written + b"\n\n" + b" " * LONGEST + b"\n")
    notes, damaged = read(path)
    assert (notes, damaged) == ([SUPPRESSED], 1)


def test_no_note_makes_no_file(journal, path):
    journal.add([])
    assert not path.exists()


@pytest.mark.parametrize(
    ("what", "more"),
    [
        (Happened.SUPPRESSED, {"reason": SuppressionReason.STOP}),
        (Happened.SUPPRESSED, {"channel": Channel.EMAIL}),
        (Happened.ERASED, {"channel": Channel.EMAIL, "reason": SuppressionReason.STOP}),
    ],
)
def test_a_note_without_what_it_is_about_is_refused(what, more):
    with pytest.raises(ValueError, match="lacks"):
        Note(what, ONA, AT, **more)


@pytest.mark.parametrize("what", [Happened.LIFTED, Happened.BROUGHT_BACK])
def test_what_ends_that_a_person_is_left_alone_needs_no_more(what):
    assert Note(what, ONA, AT).final is False


def write_many(path: Path, digest: str) -> None:
    journal = Journal(path, lambda: AT)
    for _ in range(50):
        journal.add([Note(Happened.LIFTED, digest, AT)] * 20)


def test_two_processes_write_whole_lines(path):
    processes = [multiprocessing.Process(target=write_many, args=(path, digest)) for digest in (ONA, JONAS)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    notes, damaged = read(path)
    assert (len(notes), damaged) == (2000, 0)


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_said(tmp_path, caplog):
    Journal(tmp_path / "no" / "journal", lambda: AT).add([SUPPRESSED])
    (record,) = caplog.records
    assert record.levelname == "ERROR"


@pytest.fixture
def noted(sqlite_url, journal):
    database = Database(sqlite_url, journal=journal)
    yield database
    database.close()


def test_what_leaves_a_person_alone_is_noted_before_the_commit_and_what_ends_that_after_it(noted, path):
    with noted.write() as connection:
        note(connection, Happened.LIFTED, [ONA])
        note(connection, Happened.SUPPRESSED, [ONA], channel=Channel.EMAIL, reason=SuppressionReason.STOP)
        note(connection, Happened.BROUGHT_BACK, [JONAS])
        note(connection, Happened.ERASED, [JONAS], as_of=AT, final=True)
    notes, _ = read(path)
    assert [one.what for one in notes] == [Happened.SUPPRESSED, Happened.ERASED, Happened.LIFTED, Happened.BROUGHT_BACK]


def test_what_is_rolled_back_is_not_noted(noted, path):
    def fail() -> None:
        with noted.write() as connection:
            note(connection, Happened.LIFTED, [ONA])
            note(connection, Happened.ERASED, [JONAS], as_of=AT, final=True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not path.exists()


def test_a_callers_own_transaction_is_noted_at_once_since_its_end_is_not_known(noted, path):
    engine = sa.create_engine(noted.engine.url)
    with engine.connect() as own, noted.write(own) as connection:
        note(connection, Happened.LIFTED, [ONA, JONAS])
    engine.dispose()
    assert read(path) == ([Note(Happened.LIFTED, digest, AT) for digest in (ONA, JONAS)], 0)


def test_without_a_journal_nothing_is_noted(sqlite_url, path):
    database = Database(sqlite_url)
    with database.write() as connection:
        assert connection.get_execution_options()[JOURNAL] is None
        note(connection, Happened.LIFTED, [ONA])
    database.close()
    assert not path.exists()
