"""A process's time: an anchor and the seconds since. Steps of the machine's clock do not count, the database's does."""

import logging
import runpy
import time
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.foundation import clock as module
from onboarding_worker.core.foundation.clock import ProcessClock, elapsed

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)


class Machine:
    """A machine whose clock is `NOW` at its start; `step` sets this clock, and `seconds` go on all the same."""

    def __init__(self):
        self.seconds, self.step = 5000.0, timedelta(0)

    def own(self):
        return NOW + timedelta(seconds=self.seconds - 5000) + self.step

    def elapsed(self):
        return self.seconds

    def clock(self):
        return ProcessClock(self.own, self.elapsed)


@pytest.fixture
def machine():
    return Machine()


def sample(clock, machine, behind, took=2 * MS):
    """Measure a database whose time is `behind` ahead of this machine, with half of `took` for each way."""
    before, theirs = machine.seconds, NOW + timedelta(seconds=machine.seconds - 5000) + took / 2 + behind
    machine.seconds += took.total_seconds()
    clock.measured(before=before, theirs=theirs, after=machine.seconds)


def off(clock, machine):
    """How far the process's time is from the time that went on since the start, to the microsecond."""
    return round((clock() - NOW).total_seconds() - (machine.seconds - 5000), 6)


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=8)])
def test_a_step_of_the_machines_clock_changes_nothing_after_the_start(machine, step):
    clock = machine.clock()
    machine.seconds += 10
    machine.step = step
    assert off(clock, machine) == 0
    sample(clock, machine, timedelta(0))
    machine.seconds += 10
    assert off(clock, machine) == 0


def test_it_begins_with_the_machines_clock(machine):
    machine.step = 3 * MINUTE
    assert off(machine.clock(), machine) == 180


def test_a_measurement_is_exact_to_half_the_time_that_the_query_took(machine):
    clock = machine.clock()
    sample(clock, machine, 5 * MINUTE)
    assert off(clock, machine) == 300


def test_the_newest_measurement_counts(machine):
    clock = machine.clock()
    sample(clock, machine, 5 * MINUTE)
    sample(clock, machine, timedelta(0))
    assert off(clock, machine) == 0


def test_a_measurement_that_took_long_is_ignored(machine):
    clock = machine.clock()
    sample(clock, machine, MINUTE)
    sample(clock, machine, 2 * MINUTE, took=500 * MS)
    assert off(clock, machine) == 60


def test_a_measurement_is_slow_from_more_than_three_times_the_best_on():
    as_long_as_may_be = 3.001  # the best took a second
    for took, counts in [(as_long_as_may_be, True), (as_long_as_may_be + 0.0005, False)]:
        clock = ProcessClock(lambda: NOW, lambda: 0.0)
        clock.measured(before=0.0, theirs=NOW, after=1.0)
        clock.measured(before=0.0, theirs=NOW + MINUTE, after=took)
        assert (clock() > NOW) is counts


def test_what_was_slow_twice_is_still_slow(machine):
    clock = machine.clock()
    sample(clock, machine, MINUTE)
    for _ in range(2):
        sample(clock, machine, 2 * MINUTE, took=500 * MS)
    assert off(clock, machine) == 60


def test_when_all_measurements_take_long_they_count_after_a_while(machine):
    clock = machine.clock()
    sample(clock, machine, MINUTE)
    for _ in range(40):
        sample(clock, machine, 2 * MINUTE, took=500 * MS)
    assert off(clock, machine) == 120


def test_a_difference_of_more_than_a_second_is_logged_once(machine, caplog):
    caplog.set_level(logging.WARNING)
    clock = machine.clock()
    sample(clock, machine, 300 * MS)
    sample(clock, machine, 1300 * MS)
    assert caplog.messages == []
    clock = machine.clock()
    sample(clock, machine, 5 * MINUTE)
    sample(clock, machine, 5 * MINUTE + 20 * MS)
    assert len(caplog.messages) == 1
    sample(clock, machine, -2 * MINUTE)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(("behind", "words"), [(MINUTE, "60.0 s behind"), (-MINUTE, "60.0 s ahead")])
def test_the_log_says_whose_time_was_wrong_and_which_way(machine, caplog, behind, words):
    clock = machine.clock()
    sample(clock, machine, behind)
    sample(clock, machine, 2 * behind)
    machines, processes = caplog.messages
    assert words in machines
    assert words in processes
    assert ("machine's" in machines, "machine's" in processes) == (True, False)


def test_the_seconds_are_those_that_go_on_in_sleep_where_the_system_has_them(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: -1.0)
    assert runpy.run_path(module.__file__)["elapsed"]() > 0
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        monkeypatch.delattr(time, name, raising=False)
    assert runpy.run_path(module.__file__)["elapsed"]() == -1.0


def test_the_seconds_go_on_while_the_machine_sleeps():
    sleeps_too = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    before = time.clock_gettime(sleeps_too)
    assert before <= elapsed() <= time.clock_gettime(sleeps_too)
