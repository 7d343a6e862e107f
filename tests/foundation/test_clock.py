"""A machine's clock, set by the database's: the newest good sample counts, for all parts that share the clock."""

import logging
from datetime import UTC, datetime, timedelta

from worker.foundation.clock import SharedClock

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)


def sample(clock, behind, took=2 * MS):
    """Measure a database whose time is `behind` ahead of this machine, with half of `took` for each way."""
    clock.measured(before=NOW, theirs=NOW + took / 2 + behind, after=NOW + took)


def test_it_is_exact_to_half_the_time_that_the_query_took():
    clock = SharedClock(lambda: NOW)
    sample(clock, 5 * MINUTE)
    assert clock() == NOW + 5 * MINUTE


def test_the_newest_sample_counts():
    clock = SharedClock(lambda: NOW)
    sample(clock, 5 * MINUTE)
    sample(clock, timedelta(0))
    assert clock() == NOW


def test_a_sample_that_took_long_is_ignored():
    clock = SharedClock(lambda: NOW)
    sample(clock, MINUTE)
    sample(clock, 2 * MINUTE, took=500 * MS)
    assert clock() == NOW + MINUTE


def test_when_all_samples_take_long_they_count_after_a_while():
    clock = SharedClock(lambda: NOW)
    sample(clock, MINUTE)
    for _ in range(40):
        sample(clock, 2 * MINUTE, took=500 * MS)
    assert clock() == NOW + 2 * MINUTE


def test_a_clock_that_is_wrong_by_more_than_a_second_is_logged_once(caplog):
    caplog.set_level(logging.WARNING)
    clock = SharedClock(lambda: NOW)
    sample(clock, 300 * MS)
    assert caplog.messages == []
    sample(clock, 5 * MINUTE)
    sample(clock, 5 * MINUTE + 20 * MS)
    assert caplog.messages == ["this machine's clock is 300.0 s behind the database's; the database's time counts"]
    sample(clock, -2 * MINUTE)
    assert "ahead of the database's" in caplog.messages[-1]
