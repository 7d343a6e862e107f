"""A machine's clock, set by the database's: the newest good sample counts, for everybody who holds the clock."""

import logging
from datetime import UTC, datetime, timedelta

from worker.foundation.clock import SharedClock

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)


def sample(clock, behind, took=2 * MS):
    """What asking the database tells, when it is `behind` ahead of this machine and the way takes half of `took`."""
    clock.measured(before=NOW, theirs=NOW + took / 2 + behind, after=NOW + took)


def test_it_is_right_to_half_the_time_that_asking_took():
    clock = SharedClock(lambda: NOW)
    sample(clock, 5 * MINUTE)
    assert clock() == NOW + 5 * MINUTE


def test_the_newest_sample_counts():
    clock = SharedClock(lambda: NOW)
    sample(clock, 5 * MINUTE)
    sample(clock, timedelta(0))
    assert clock() == NOW


def test_a_sample_that_took_long_is_not_believed():
    clock = SharedClock(lambda: NOW)
    sample(clock, MINUTE)
    sample(clock, 2 * MINUTE, took=500 * MS)
    assert clock() == NOW + MINUTE


def test_when_all_take_long_they_are_believed_after_a_while():
    clock = SharedClock(lambda: NOW)
    sample(clock, MINUTE)
    for _ in range(40):
        sample(clock, 2 * MINUTE, took=500 * MS)
    assert clock() == NOW + 2 * MINUTE


def test_a_clock_that_is_off_by_more_than_a_second_is_told_once(caplog):
    caplog.set_level(logging.WARNING)
    clock = SharedClock(lambda: NOW)
    sample(clock, 300 * MS)
    assert caplog.messages == []
    sample(clock, 5 * MINUTE)
    sample(clock, 5 * MINUTE + 20 * MS)
    assert caplog.messages == ["this machine's clock is 300.0 s behind the database's, whose time counts"]
    sample(clock, -2 * MINUTE)
    assert "ahead of the database's" in caplog.messages[-1]
