"""Single steps of finding a rate: what is counted, when a lower one is tried, judged, measured and raised."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.rules.rate_adaptation import Pace, adapted, counted

SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FORGET_HABIT_AFTER, FORGET_FOUND_LIMIT_AFTER = timedelta(minutes=10), timedelta(hours=1)
KNOWN = Pace(granted=100.0, refused=10.0, counted_at=NOW, refused_at=NOW - SECOND, lowered_at=NOW)


@pytest.mark.parametrize(
    ("changes", "configured", "seconds", "fades"),
    [
        ({}, 50.0, 1, 0.05),
        ({}, 50.0, 60, 0.1),
        ({}, 50.0, -5, 0),
        ({}, 1.0, 6, 0.05),  # over no fewer than 120 calls
        ({"rate": 1.0}, 50.0, 6, 0.05),
        ({"rate": 50.0}, 1.0, 1, 0.05),
        ({}, None, 1, 0.05),
        ({"trial_rate": 40.0}, 50.0, 60, 0),
        ({"counted_at": None}, 50.0, 60, 0),
    ],
)
def test_counts_fade_with_time_but_not_in_a_trial(changes, configured, seconds, fades):
    before, now, kept = replace(KNOWN, **changes), NOW + seconds * SECOND, math.exp(-fades)
    after = counted(before, configured, granted=3, refused=1, now=now)
    assert (after.granted, after.refused) == pytest.approx((100 * kept + 3, 10 * kept + 1))
    same = replace(after, granted=100.0, refused=10.0)
    assert same == replace(before, counted_at=now, refused_at=now)
    assert counted(before, configured, granted=3, now=now).refused_at == before.refused_at


@pytest.mark.parametrize(
    ("changes", "configured", "refused", "after"),
    [
        ({}, None, 0.04, {"granted": 0.0, "refused": 0.0, "counted_at": None, "lowered_at": None}),
        ({}, None, 0.05, {"granted": 103.0, "counted_at": NOW}),
        ({"lowered_at": None}, None, 0.05, {"granted": 103.0, "counted_at": NOW, "lowered_at": NOW}),
        ({"rate": 5.0, "lowered_at": None}, None, 0.0, {"granted": 103.0, "counted_at": NOW}),
        ({"lowered_at": None}, 5.0, 0.0, {"granted": 103.0, "counted_at": NOW}),
    ],
)
def test_of_an_account_without_a_limit_calls_are_counted_while_some_are_refused(changes, configured, refused, after):
    before = replace(KNOWN, lowered_at=NOW - SECOND, counted_at=None, habit=0.3)
    before = replace(before, refused=refused, **changes)
    assert counted(before, configured, granted=3, now=NOW) == replace(before, **after)


LOWERED = {"granted": 0.0, "refused": 0.0, "lowered_at": NOW, "raised_at": NOW}
TRIED = Pace(good=30.0, granted=500.0, refused=5.0, raised_at=NOW)


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, {"rate": 20.0, "trial_rate": 40.0, "refused_from": 40.0, "trial_share": 0.01}),
        ({"refused": 4.99}, None),
        ({"granted": 501.0}, None),
        (
            {"habit": 0.02, "granted": 100.0},
            {"rate": 20.0, "trial_rate": 40.0, "refused_from": 40.0, "trial_share": 0.05},
        ),
        ({"habit": 0.0201, "granted": 100.0}, None),
        ({"rate": 10.0}, {"rate": 5.0, "trial_rate": 10.0, "refused_from": 10.0, "trial_share": 0.01}),
        ({"rate": 6.0}, {"rate": 4.0, "trial_rate": 6.0, "refused_from": 6.0, "trial_share": 0.01}),
        ({"rate": 4.0}, None),
    ],
)
def test_when_a_lower_rate_is_tried(changes, after):
    before = replace(TRIED, **changes)
    expected = before if after is None else replace(before, good=None, **LOWERED, **after)
    assert adapted(before, 40.0, now=NOW) == expected


TRIAL = Pace(rate=20.0, trial_rate=40.0, trial_share=0.1, refused_from=40.0, good=7.0, lowered_at=NOW, raised_at=NOW)
OVER = {"trial_rate": None}
UNDONE = {"trial_rate": None, "refused_from": None, "good": None, "habit": 0.1, "habit_at": NOW}
REFUSED = {"granted": 50.0, "refused": 5.0}


@pytest.mark.parametrize(
    ("changes", "configured", "after"),
    [
        ({"granted": 49.9}, 40.0, {}),
        ({"granted": 50.0}, 40.0, {**OVER, "good": 20.0}),
        ({"granted": 99.0, "refused": 1.0}, 40.0, {}),
        ({"granted": 100.0, "refused": 1.0}, 40.0, OVER),
        ({"granted": 100.0, "refused": 0.9}, 40.0, {**OVER, "good": 20.0}),
        ({"granted": 48.0, "refused": 4.9}, 40.0, {}),
        (REFUSED, 40.0, {**LOWERED, "rate": 10.0}),
        ({**REFUSED, "rate": 10.0}, 40.0, {**UNDONE, "rate": None}),
        ({**REFUSED, "rate": 10.0}, 40.1, {**UNDONE, "rate": 40.0}),
        ({**REFUSED, "rate": 10.0}, None, {**UNDONE, "rate": 40.0}),
        ({**REFUSED, "rate": 10.1}, 100.0, {**LOWERED, "rate": 10.0}),
        ({**REFUSED, "rate": 12.0}, 120.0, {**UNDONE, "rate": 40.0}),
        ({"granted": 200.0, "refused": 5.0}, 40.0, {**OVER, "rate": 10.0, "good": None, "trial_rate": 20.0}),
        (
            {"granted": 100.0, "refused": 6.0, "trial_share": 0.2},
            40.0,
            {"rate": 10.0, "good": None, "trial_rate": 20.0},
        ),
        ({"rate": None, "granted": 50.0}, 40.0, {}),
    ],
)
def test_what_becomes_of_a_trial(changes, configured, after):
    """Where it helped and as many are refused all the same, the next one begins at once."""
    before = replace(TRIAL, **changes)
    found, known = (
        adapted(before, configured, now=NOW),
        ("rate", "good", "trial_rate", "habit", "habit_at", "lowered_at"),
    )
    expected = replace(before, **after)
    assert [getattr(found, name) for name in known] == [getattr(expected, name) for name in known]
    if after.get("trial_rate", 0) is None or not after:
        assert found == expected


STEADY = Pace(rate=30.0, refused_from=50.0, granted=1000.0, refused=2.0, refused_at=NOW, raised_at=NOW)


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, {**LOWERED, "rate": 27.0, "refused_from": 30.0}),
        ({"refused": 1.99}, {}),
        ({"granted": 1001.0}, {}),
        ({"good": 28.0}, {**LOWERED, "rate": 28.0, "refused_from": 30.0}),
        ({"good": 30.0}, {}),
        ({"good": 30.0, "refused": 5.0}, {"refused_from": None, "habit": 0.005, "habit_at": NOW}),
        ({"good": 30.0, "refused": 4.99}, {}),
        ({"rate": 4.2}, {**LOWERED, "rate": 4.0, "refused_from": 4.2}),
        ({"habit": 0.001, "habit_at": NOW}, {}),
        ({"rate": None}, {}),
    ],
)
def test_a_few_more_refusals_lower_a_found_rate_by_a_small_step(changes, after):
    before = replace(STEADY, **changes)
    assert adapted(before, 40.0, now=NOW) == replace(before, **after)


@pytest.mark.parametrize(
    ("seconds", "granted", "refused", "rate"),
    [
        (10, 120.0, 20.0, 100 / (20 * (1 - math.exp(-0.5)))),
        (2, 25.0, 5.0, 20 / (20 * (1 - math.exp(-0.1)))),
        (1.9, 25.0, 5.0, None),
        (10, 6.0, 5.0, 1 / (20 * (1 - math.exp(-0.5)))),
        (10, 5.9, 5.0, None),
        (10_000, 6.0, 5.0, 0.05),
    ],
)
def test_without_a_limit_the_rate_is_the_one_at_which_calls_were_accepted(seconds, granted, refused, rate):
    before = Pace(granted=granted, refused=refused, lowered_at=NOW - seconds * SECOND, refused_at=NOW)
    after = adapted(before, None, now=NOW)
    if rate is None:
        assert after == before
    else:
        assert after == replace(before, rate=after.rate, refused_from=after.refused_from, **LOWERED)
        assert (after.rate, after.refused_from) == pytest.approx((rate, 2 * rate))


def test_of_an_account_without_a_limit_that_has_just_been_refused_nothing_is_measured():
    before = Pace(granted=25.0, refused=5.0)
    assert adapted(before, None, now=NOW) == before


USED = Pace(rate=20.0, refused_from=40.0, granted=400.0, raised_at=NOW - 5 * SECOND, lowered_at=NOW - 30 * SECOND)


@pytest.mark.parametrize(
    ("changes", "configured", "rate"),
    [
        ({"raised_at": NOW - 2 * SECOND}, 100.0, 22.0),
        ({"raised_at": NOW - 2 * SECOND + TICK}, 100.0, 20.0),
        ({"refused_from": None}, 100.0, 21.0),
        ({"refused_from": None, "raised_at": NOW - SECOND}, 100.0, 20.0),
        ({"rate": 34.0}, 100.0, 34.68),
        ({"rate": 34.0, "raised_at": NOW - 5 * SECOND + TICK}, 100.0, 34.0),
        ({"rate": 34.0, "refused_at": NOW - 40 * SECOND}, 100.0, 34.68),
        ({"refused_at": NOW - 30 * SECOND}, 100.0, 22.0),
        ({"refused_at": NOW - 30 * SECOND + TICK}, 100.0, 20.0),
        ({"refused_at": NOW - 30 * SECOND, "lowered_at": None}, 100.0, 20.0),
        ({"refused_at": NOW - 60 * SECOND, "lowered_at": None}, 100.0, 22.0),
        ({"refused_at": NOW - 60 * SECOND + TICK, "lowered_at": None}, 100.0, 20.0),
        ({"rate": 50.0, "refused_from": 52.0}, 51.1, 51.0),
        ({"rate": 50.0, "refused_from": 52.0}, 51.0, None),
        ({"rate": 50.0, "refused_from": 52.0}, None, 51.0),
        ({"rate": 10.0, "granted": 100.0, "raised_at": NOW - 100 * SECOND}, 100.0, 12.0),
        ({"rate": 10.0, "granted": 99.9, "raised_at": NOW - 100 * SECOND}, 100.0, 10.0),
        ({"raised_at": None}, 100.0, 20.0),
        ({"rate": 97.0, "refused_from": 102.0, "refused_at": NOW - 40 * SECOND}, 200.0, 98.94),
        ({"rate": 97.0, "refused_from": 101.9, "refused_at": NOW - 40 * SECOND}, 200.0, 97.0),
        ({"habit": 0.5, "habit_at": NOW, "refused": 300.0, "refused_at": NOW}, 100.0, 22.0),
        ({"habit": 0.5, "habit_at": NOW, "refused": 300.1, "refused_at": NOW}, 100.0, 20.0),
        ({"habit": 0.5, "habit_at": NOW, "refused": 300.1}, 100.0, 20.0),
    ],
)
def test_when_and_how_far_a_found_rate_is_raised(changes, configured, rate):
    before = replace(USED, **changes)
    after = adapted(before, configured, now=NOW)
    if rate is None:
        assert after == Pace()
    elif rate == before.rate:
        assert after == before
    else:
        assert after == replace(before, rate=after.rate, raised_at=NOW)
        assert after.rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("changes", "configured", "forgotten"),
    [
        ({"refused_at": NOW - FORGET_FOUND_LIMIT_AFTER}, None, True),
        ({"refused_at": NOW - FORGET_FOUND_LIMIT_AFTER + TICK}, None, False),
        ({"refused_at": None}, None, True),
        ({"refused_at": NOW - FORGET_FOUND_LIMIT_AFTER}, 40.0, False),
    ],
)
def test_without_a_configured_limit_time_alone_ends_the_one_that_was_found(changes, configured, forgotten):
    before = Pace(rate=20.0, refused_from=40.0, raised_at=NOW - FORGET_FOUND_LIMIT_AFTER)
    assert (adapted(replace(before, **changes), configured, now=NOW) == Pace()) is forgotten


def test_a_habit_is_forgotten_with_its_time():
    habit = Pace(habit=0.1, habit_at=NOW - FORGET_HABIT_AFTER + TICK)
    assert adapted(habit, 40.0, now=NOW) == habit
    assert adapted(habit, 40.0, now=NOW + TICK) == Pace()
    assert adapted(Pace(habit=0.1), 40.0, now=NOW) == Pace(habit=0.1)
