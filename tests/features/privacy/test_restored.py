"""An older copy of the database is found by the mark beside it, and stops everything, once."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.stored.shelf import Shelf, customer
from worker.core.database.audit_entries import note_alone
from worker.core.database.database import Database
from worker.core.database.journal import Journal
from worker.core.database.tables import Audit
from worker.features.audit.store.sealing import Seals
from worker.lists.decisions.store.emergency_stop import EmergencyStops
from worker.reporting.store.processes import Restored


class Installation:
    """A SQLite database, its journal, and the copies that are made of it."""

    def __init__(self, file: Path, keyring, clock):
        self.file, self.keyring, self.clock = file, keyring, clock
        self.journal = Journal(file.with_name("journal"), clock)
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

    def is_stopped(self):
        """Whether everything is stopped after a start."""
        self.restored.stop_if_older(now=self.clock())
        return EmergencyStops(self.database).is_there()


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
    here.decide()
    here.mark()
    here.copy()
    here.decide()
    here.restored.mark(now=here.clock(), at_once=True)
    here.restore()

    assert here.is_stopped()

    EmergencyStops(here.database).go_on(now=here.clock())
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
    assert EmergencyStops(here.database).is_there()


def test_a_mark_is_made_each_minute(here, clock):
    here.restored.mark(now=clock())
    first = here.journal.last_mark()
    clock.advance(seconds=59)
    here.restored.mark(now=clock())
    assert here.journal.last_mark() == first
    clock.advance(seconds=1)
    here.restored.mark(now=clock())
    assert here.journal.last_mark().at == clock()


def test_an_entry_that_retention_has_removed_is_no_restore(here, clock):
    for _ in range(3):
        here.decide()
    here.mark()
    clock.advance(days=400)
    for _ in range(3):
        here.decide()
    assert Seals(here.database, here.keyring).remove(until=clock(), now=clock())
    with here.database.read() as connection:
        assert connection.execute(sa.select(sa.func.min(Audit.number))).scalar() > here.journal.last_mark().number
    assert not here.is_stopped()


def test_a_disk_that_takes_no_mark_ends_no_process(here, caplog):
    here.journal.mark = lambda _mark: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    here.mark()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
