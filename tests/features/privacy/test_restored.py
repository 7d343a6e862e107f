"""An older copy of the database is found by the mark beside it, and stops everything until a person goes on."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.journal import Journal
from onboarding_worker.core.database.tables import Audit
from onboarding_worker.features.audit.store.sealing import Seals
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.reporting.store.restored import OLDER, UNKNOWN, Restored, last_mark, mark_of
from tests.stored.shelf import Shelf, customer


class Installation:
    """A SQLite database, its journal, and the copies that are made of it."""

    def __init__(self, file: Path, keyring, clock):
        self.file, self.keyring, self.clock = file, keyring, clock
        self.path = file.with_name("journal")
        self.journal = Journal(self.path, clock)
        self._open()

    def _open(self):
        self.database = Database(f"sqlite:///{self.file}")
        self.restored = Restored(self.database, self.journal)

    def copy(self):
        self.database.close()
        shutil.copyfile(self.file, self.file.with_name("copy"))
        self._open()

    def restore(self):
        self.database.close()
        shutil.copyfile(self.file.with_name("copy"), self.file)
        self._open()

    def decide(self):
        note_alone(self.database, "batch 1", now=self.clock(), reason="paused")
        Seals(self.database, self.keyring).seal()

    def mark(self):
        self.clock.advance(minutes=1)
        self.restored.mark(now=self.clock())

    def start(self, database=None):
        started = Restored(database or self.database, self.journal)
        started.begin(now=self.clock())
        return started

    def stop(self):
        return EmergencyStops(self.database).find()

    def is_stopped(self):
        """Whether everything is stopped after a start."""
        self.start()
        return self.stop() is not None

    def go_on(self):
        EmergencyStops(self.database).go_on(now=self.clock())

    def become_older(self):
        """The database is replaced by its copy, and has decided something since."""
        self.decide()
        self.mark()
        self.copy()
        self.decide()
        self.mark()
        self.restore()


@pytest.fixture
def here(sqlite_url, keyring, clock):
    made = Installation(Path(sqlite_url.removeprefix("sqlite:///")), keyring, clock)
    yield made
    made.database.close()


def test_a_start_after_an_end_is_no_restore(here):
    assert not here.is_stopped()
    here.decide()
    here.mark()
    here.decide()
    assert not here.is_stopped()


def test_a_copy_from_before_a_decision_stops_everything_until_a_person_goes_on(here):
    here.become_older()
    assert here.is_stopped()
    assert here.is_stopped()

    here.go_on()
    assert not here.is_stopped()
    here.mark()
    assert not here.is_stopped()


def test_a_copy_is_found_by_the_time_alone_where_only_messages_were_sent_since(here):
    here.decide()
    here.mark()
    here.copy()
    Shelf(here.database, here.keyring, here.clock).add(customer("Ona"))
    here.mark()
    here.restore()
    assert here.is_stopped()


def test_another_history_of_the_same_length_is_found_by_its_hash(here):
    here.mark()
    here.copy()
    here.decide()
    here.restored.mark(now=here.clock(), at_once=True)
    here.restore()
    here.clock.advance(seconds=1)
    here.decide()
    assert here.is_stopped()


def test_a_running_process_finds_a_copy_that_took_the_place_of_its_database(here):
    here.mark()
    here.copy()
    here.decide()
    here.mark()
    here.restore()
    here.mark()
    assert EmergencyStops(here.database).find() is not None


def test_a_mark_is_made_each_minute(here, clock):
    here.restored.mark(now=clock())
    first = last_mark(here.path)
    clock.advance(seconds=59)
    here.restored.mark(now=clock())
    assert last_mark(here.path) == first
    clock.advance(seconds=1)
    here.restored.mark(now=clock())
    assert last_mark(here.path).at == clock()


def test_an_entry_that_retention_has_removed_is_no_restore(here, clock):
    for _ in range(3):
        here.decide()
    here.mark()
    clock.advance(days=400)
    for _ in range(3):
        here.decide()
    assert Seals(here.database, here.keyring).remove(until=clock(), now=clock())
    with here.database.read() as connection:
        assert connection.execute(sa.select(sa.func.min(Audit.number))).scalar() > last_mark(here.path).number
    assert not here.is_stopped()


def test_a_disk_that_takes_no_mark_ends_no_process_and_makes_no_restore(here, caplog):
    here.path = here.file.with_name("not there") / "journal"
    here.journal = Journal(here.path, here.clock)
    assert not here.is_stopped()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    here.path.parent.mkdir()
    here.path.write_text("a note\n")
    assert not here.is_stopped()


def test_an_older_stop_does_not_hide_what_the_journal_has_found(here):
    EmergencyStops(here.database).stop(by="root", reason="upgrade", now=here.clock())
    here.mark()
    here.copy()
    here.go_on()
    here.mark()
    here.restore()

    assert here.start().found == OLDER

    assert here.stop().reason.startswith(f"{OLDER}; before, everything was stopped by root, ")
    with here.database.read() as connection:
        assert connection.execute(sa.select(Audit.reason).order_by(Audit.id.desc())).scalars().first().startswith(OLDER)
    assert here.start().found == ""  # it is the same stop


def test_a_stop_by_the_journal_that_the_copy_has_from_before_is_no_word_about_this_mark(here):
    here.become_older()
    assert here.is_stopped()
    here.copy()
    here.go_on()
    here.mark()
    here.restore()
    assert here.start().found == OLDER


def test_a_mark_from_the_future_stops_once(here, clock):
    here.decide()
    here.mark()
    here.copy()
    clock.advance(days=1)
    here.mark()
    here.restore()
    clock.advance(days=-1)
    assert [here.start().found, here.start().found] == [OLDER, ""]
    here.go_on()
    assert not here.is_stopped()


def test_a_look_at_a_database_that_was_copied_away_stops_nothing_in_the_one_that_goes_on(here):
    here.decide()
    here.mark()
    here.copy()
    here.decide()
    here.mark()
    old = Database(f"sqlite:///{here.file.with_name('copy')}")

    here.clock.advance(minutes=1)
    started = here.start(old)
    started.mark(now=here.clock(), at_once=True)
    assert EmergencyStops(old).find() is not None
    old.close()

    assert not here.is_stopped()
    here.mark()
    assert here.stop() is None


@pytest.mark.parametrize("spoil", [Path.unlink, lambda mark: mark.write_text('{"number": "x"')])
def test_a_mark_that_is_gone_or_damaged_beside_a_journal_with_notes_stops_everything_once(here, spoil):
    here.path.write_text("a note\n")
    here.mark()
    spoil(mark_of(here.path))
    assert here.start().found == UNKNOWN
    assert here.start().found == ""
    here.go_on()
    assert not here.is_stopped()
    here.mark()
    assert not here.is_stopped()


def test_a_new_installation_has_a_mark_after_its_first_start(here, caplog):
    assert not here.is_stopped()
    assert last_mark(here.path).length == 0
    assert caplog.records == []


@pytest.mark.parametrize("spoil", [Path.unlink, lambda journal: journal.write_text("a no")])
def test_a_journal_that_is_lost_or_cut_is_said_at_each_start_until_it_is_back(here, spoil):
    here.path.write_text("a note\n")
    here.mark()
    spoil(here.path)
    for _ in range(2):
        assert "gone or shorter" in here.start().lost
        here.mark()
    here.path.write_text("a note\nand one more\n")
    assert here.start().lost == ""


def test_a_journal_that_is_gone_with_its_mark_is_said(here, caplog):
    here.mark()
    here.path.unlink()
    mark_of(here.path).unlink()
    assert "is gone" in here.start().lost
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert here.stop() is None  # another machine may begin a journal of its own


def test_where_nothing_can_be_written_an_older_copy_is_said_and_read(here, caplog):
    here.become_older()
    sa.event.listen(here.database.engine, "connect", lambda one, _: one.execute("PRAGMA query_only=ON"))
    here.start()
    assert here.stop() is None
    assert caplog.records[-1].getMessage().endswith(OLDER)


def test_an_outage_at_the_start_is_no_database_to_read_on(here):
    here.become_older()

    def fail(_connection, _cursor, statement, *_more):
        if statement.startswith("DELETE"):
            raise sa.exc.OperationalError(None, None, sqlite3.OperationalError("disk I/O error"))

    sa.event.listen(here.database.engine, "before_cursor_execute", fail)
    with pytest.raises(sa.exc.OperationalError):
        here.start()
