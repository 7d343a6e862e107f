"""Every process keeps the database's time, whatever its machine's clock is set to."""

import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import ProcessClock, system_clock
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.runtime.bus_consumers import DatabaseInbox
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts, Timekeeper
from onboarding_worker.wiring.opening import opened
from tests.simulated.world import configuration
from tests.suite.waiting import ENDS_WITHIN

HOUR = timedelta(hours=1)


class Measured(ProcessClock):
    """Counts its measurements, and lets a test wait for them."""

    def __init__(self, **how):
        super().__init__(**how)
        self.count = threading.Semaphore(0)

    def measured(self, **sample):
        super().measured(**sample)
        self.count.release()


@pytest.fixture
def database(empty_postgresql_url):
    opened = Database(empty_postgresql_url)
    yield opened
    opened.close()


def test_the_time_is_the_databases_from_the_start_and_is_set_again_and_again(database):
    clock = Measured(own=lambda: system_clock() - HOUR)
    keeper = Timekeeper(database, clock, every=timedelta(milliseconds=1))
    keeper.start()
    assert abs(clock() - database.now()) < timedelta(minutes=1)
    for _ in range(3):
        assert clock.count.acquire(timeout=ENDS_WITHIN)
    keeper.close()


class OftenAway(Database):
    """A database that cannot be reached when its time is read for the second and the third time."""

    reads = 0

    def set_clock(self, clock):
        self.reads += 1
        if self.reads in (2, 3):
            raise sa.exc.OperationalError("SELECT", None, Exception("connection refused"))
        super().set_clock(clock)


def test_the_time_goes_on_while_the_database_is_away_and_is_set_when_it_is_back(empty_postgresql_url):
    database = OftenAway(empty_postgresql_url)
    clock = Measured()
    keeper = Timekeeper(database, clock, every=timedelta(milliseconds=1))
    keeper.start()
    assert clock.count.acquire(timeout=ENDS_WITHIN)
    assert clock.count.acquire(timeout=ENDS_WITHIN)
    assert database.reads >= 4
    keeper.close()
    database.close()


def timekeepers():
    return {thread for thread in threading.enumerate() if thread.name == "timekeeper"}


@pytest.mark.parametrize("door", ["parts", "bus", "library"])
def test_every_process_that_writes_times_keeps_the_databases_time_until_it_ends(
    door, empty_postgresql_url, tmp_path, monkeypatch
):
    (tmp_path / "onboarding.toml").write_text(configuration(empty_postgresql_url))
    monkeypatch.setenv("KEY", new_key())
    monkeypatch.setenv("SECRET", "00000000-0000-4000-8000-000000000000")
    settings = load(tmp_path / "onboarding.toml")
    before = timekeepers()
    with ExitStack() as exits:
        if door == "bus":
            inbox = DatabaseInbox(settings)
            exits.callback(inbox.close)
            inbox.check_ready()
        else:
            exits.enter_context(opened(settings, prepare=Parts.keep_time if door == "library" else Parts.ready))
        (keeper,) = timekeepers() - before
    keeper.join(timeout=ENDS_WITHIN)
    assert not keeper.is_alive()
