"""The measured pace of a budget: what all its workers made in busy time, whatever their number and rhythm."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.dispatch.state import BusyStretch
from onboarding_worker.core.rules.throughput import WINDOW, MeasuredThroughput, Stretch, with_stretch

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND, FRESH = timedelta(seconds=1), timedelta(minutes=10)
NOTHING = MeasuredThroughput()


def per_second(pace):
    return 1 / pace.interval.total_seconds()


def worked(rate, seconds, *, workers=1, pace=NOTHING, begins=NOW):
    """`workers` report in turn, each about once a second, what they made of `rate` calls a second."""
    for tick in range(seconds * workers):
        at = begins + (tick + 1) * SECOND / workers + SECOND
        pace = with_stretch(pace, Stretch(round(rate / workers), SECOND), now=at)
    return pace


@given(st.integers(20, 5000), st.integers(20, 200), st.integers(1, 8))
def test_it_is_the_pace_of_all_workers_together(rate, seconds, workers):
    assert per_second(worked(rate, seconds, workers=workers)) == pytest.approx(rate, rel=0.25)


@given(st.integers(20, 1000), st.integers(20, 1000))
def test_a_new_pace_replaces_the_old_one_within_minutes(before, after):
    pace = worked(before, 400)
    pace = worked(after, 400, pace=pace, begins=pace.until)
    assert per_second(pace) == pytest.approx(after, rel=0.25)
    assert pace.seconds <= WINDOW.total_seconds() + 1e-6


def test_near_the_end_of_a_list_the_last_seconds_count_where_calls_are_many():
    pace = worked(48, 45, pace=worked(7, 60), begins=NOW + timedelta(minutes=1))
    assert per_second(pace) == pytest.approx(48, rel=0.1)
    assert per_second(worked(2, 20, pace=worked(1, 60), begins=NOW + timedelta(minutes=1))) < 1.5


@given(st.integers(4, 3600).map(lambda n: n * SECOND))
def test_idle_time_does_not_count(rest):
    pace = worked(50, 30)
    again = worked(50, 30, pace=pace, begins=pace.until + rest)
    assert per_second(again) == pytest.approx(50, rel=0.1)


@given(st.integers(1, 60), st.integers(10, 100))
def test_a_sender_that_is_busy_now_and_then_is_not_measured(rate, every):
    pace = NOTHING
    for burst in range(100):
        pace = with_stretch(pace, Stretch(rate, SECOND), now=NOW + burst * every * SECOND)
    assert pace.interval is None


def test_too_little_is_no_pace():
    assert worked(50, 9).interval is None
    assert worked(50, 11).interval is not None
    assert worked(0, 30).interval is None
    assert MeasuredThroughput().interval is None


def test_how_much_is_enough_for_a_pace_and_how_long_it_is_fresh():
    found = [MeasuredThroughput(*measured, NOW).interval for measured in [(10, 10.0), (9.9, 10.0), (10, 9.9)]]
    assert found == [SECOND, None, None]
    fresh = [MeasuredThroughput(10, 10.0, until).is_fresh(NOW) for until in (NOW - FRESH, NOW - FRESH * 1.001, None)]
    assert fresh == [True, False, False]


@pytest.mark.parametrize(
    ("until", "took", "counted"), [(None, 5, 5), (1, 5, 1), (5, 5, 5), (8, 5, 8), (0, 5, 0), (-1, 5, 5)]
)
def test_the_time_since_the_last_stretch_is_counted_once_and_gaps_of_seconds_with_it(until, took, counted):
    before = NOTHING if until is None else MeasuredThroughput(5.0, 5.0, NOW - until * SECOND)
    after = with_stretch(before, Stretch(7, took * SECOND), now=NOW)
    assert (after.calls, after.seconds) == pytest.approx((before.calls + 7, before.seconds + counted))
    assert after.until == max(NOW, before.until or NOW)


@pytest.mark.parametrize("idle", [3.6, 60])
def test_what_was_measured_before_a_longer_pause_fades(idle):
    before = MeasuredThroughput(5.0, 5.0, NOW - (5 + idle) * SECOND)
    after = with_stretch(before, Stretch(7, 5 * SECOND), now=NOW)
    assert (after.calls, after.seconds) == pytest.approx((5 * math.exp(-idle / 60) + 7, 5 * math.exp(-idle / 60) + 5))


@pytest.mark.parametrize(
    ("calls", "seconds", "kept"),
    [(2400, 100, 0.15), (120, 30, 1.0), (240, 100, 0.5), (10, 100, 0.6), (1, 0, 1.0), (0, 0, 1.0), (0, 120, 0.5)],
)
def test_only_as_many_calls_count_as_say_enough(calls, seconds, kept):
    after = with_stretch(NOTHING, Stretch(calls, seconds * SECOND), now=NOW)
    assert (after.calls, after.seconds) == pytest.approx((calls * kept, seconds * kept))


def test_a_clock_that_was_set_back_breaks_nothing():
    pace = worked(50, 30)
    pace = with_stretch(pace, Stretch(50, SECOND), now=NOW - timedelta(hours=1))
    assert per_second(pace) == pytest.approx(50, rel=0.1)
    pace = with_stretch(pace, Stretch(50, SECOND), now=pace.until + SECOND)
    assert per_second(pace) == pytest.approx(50, rel=0.1)
    assert pace.until > NOW


def test_what_was_measured_long_ago_does_not_count_after_a_stretch_that_took_as_long():
    pace = worked(50, 60)
    pace = with_stretch(pace, Stretch(900, 15 * WINDOW), now=pace.until + 15 * WINDOW)
    assert per_second(pace) == pytest.approx(1, rel=0.01)


def flushed(stretch, *flushes):
    """(seconds since the beginning, calls that ended since, whether rows wait)"""
    found = []
    for at, calls, waiting in flushes:
        stretch.calls += calls
        found.append(stretch.at_flush(NOW + at * SECOND, waiting=waiting, results=calls > 0))
    return found


def test_a_stretch_is_written_once_a_second_and_has_every_call_of_it():
    busy = flushed(BusyStretch(NOW), *((tick / 4, 5, True) for tick in range(13)))
    assert [one for one in busy if one] == [Stretch(20, SECOND)] * 3


def test_a_stretch_in_which_no_row_waited_once_is_not_measured():
    assert flushed(BusyStretch(NOW), (0, 9, True), (0.5, 9, False), (1.1, 9, True), (1.9, 9, True)) == [None] * 4
    assert flushed(BusyStretch(NOW), *((tick, 9, False) for tick in range(5))) == [None] * 5


def test_a_slow_call_is_a_long_stretch():
    found = flushed(BusyStretch(NOW), (0, 0, True), (0.2, 0, True), (9, 1, True))
    assert found[-1] == Stretch(1, 9 * SECOND)
