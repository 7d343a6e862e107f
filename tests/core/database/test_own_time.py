"""PostgreSQL's own time: leases are checked by it, and a process whose clock stood still is set by it."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.database import STOOD_STILL, Database
from onboarding_worker.core.foundation.clock import ProcessClock

HOUR = timedelta(hours=1)


@pytest.fixture
def database(postgresql_url):
    opened = Database(postgresql_url, connections=1)
    yield opened
    opened.close()


def standing(at):
    """The clock of a process that stands still."""
    return ProcessClock(lambda: at, lambda: 0.0)


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(seconds=-1.5)])
def test_a_clock_that_is_far_off_is_set_whenever_the_database_is_asked_for_its_time(database, off):
    began = database.now()
    clock = standing(began + off)
    assert database.has_own_time is False
    database.trust_its_time(clock)
    assert database.has_own_time is True
    now = database.now()
    assert began <= now < began + HOUR / 2
    assert clock() == now


def test_a_clock_that_is_nearly_right_is_set_only_by_who_asks_for_that(database):
    nearly = database.now() + STOOD_STILL * 0.9
    clock = standing(nearly)
    database.trust_its_time(clock)
    database.now()
    assert clock() == nearly
    database.set_clock(clock)
    assert clock() != nearly
    assert abs(clock() - nearly) < HOUR
