"""Slots as arithmetic: which are offered, how many lie before a time, and what a claim leaves free."""

from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.rules.limits import Burst, Limit, NextSlot, Slots, burst_of, offer, unit_of, unused

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MS, TICK = timedelta(milliseconds=1), timedelta(microseconds=1)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
EACH = Slots(NOW, 10 * MS, 3)
OTHERS = Slots(NOW + 50 * MS, 10 * MS, 5, NOW + MS * 20, 2, leaves_out=True)  # 20, 40, and then 50, 70, 90


def after(first, *numbers):
    return [first + number * MS for number in numbers]


def test_the_slots_that_were_left_out_come_before_those_of_which_every_other_one_is_left_out():
    assert [EACH.at(index) for index in range(3)] == after(NOW, 0, 10, 20)
    assert [OTHERS.at(index) for index in range(5)] == after(NOW, 20, 40, 50, 70, 90)


@pytest.mark.parametrize(
    ("slots", "ms", "number"),
    [
        (EACH, -1, 0),
        (EACH, 0, 1),
        (EACH, 9, 1),
        (EACH, 10, 2),
        (EACH, 500, 3),
        (OTHERS, 19, 0),
        (OTHERS, -500, 0),
        (OTHERS, 20, 1),
        (OTHERS, 49, 2),
        (OTHERS, 50, 3),
        (OTHERS, 69, 3),
        (OTHERS, 70, 4),
        (OTHERS, 500, 5),
        (Slots(NOW, timedelta(0), 7), -500, 7),
        (Slots(NOW, 10 * MS, -1), 500, 0),
    ],
)
def test_how_many_slots_are_not_later_than_a_time(slots, ms, number):
    assert slots.until(NOW + ms * MS) == number


@pytest.mark.parametrize(
    ("number", "next_ms", "left_ms", "again_ms"),
    [(0, 50, 20, 10), (1, 50, 40, 30), (2, 50, None, 40), (3, 70, 60, 50), (5, 110, 60, 50)],
)
def test_what_is_free_after_so_many_of_them_and_when_to_claim_again(number, next_ms, left_ms, again_ms):
    left_at = None if left_ms is None else NOW + left_ms * MS
    assert OTHERS.reserved(number) == (NOW + next_ms * MS, left_at)
    assert OTHERS.again_at(number, horizon=30 * MS, now=NOW) == NOW + again_ms * MS
    assert OTHERS.again_at(number, horizon=30 * MS, now=NOW + 500 * MS) == NOW + 500 * MS
    far = {0: 15, 1: 35, 2: 45}.get(number, 50)
    assert OTHERS.again_at(number, horizon=15 * MS, now=NOW) == NOW + far * MS


def test_a_worker_that_has_left_out_nothing_yet_need_not_come_back_for_it():
    close = Slots(NOW + 50 * MS, 2 * MS, 3, leaves_out=True)
    assert close.again_at(0, horizon=3 * MS, now=NOW) == NOW + 49 * MS
    assert close.again_at(1, horizon=3 * MS, now=NOW) == NOW + 42 * MS


HUNDRED = Limit(100, SECOND)


@pytest.mark.parametrize(
    ("next_ms", "left_ms", "horizon", "offered"),
    [
        (None, None, 30, [0, 10, 20, 30]),
        (None, -10, 30, [0, 10, 20, 30]),
        (-5, None, 30, [0, 10, 20, 30]),
        (20, None, 30, [20, 30]),
        (30, None, 30, [30]),
        (31, None, 30, []),
        (31, 0, 30, []),
        (50, 0, 60, [0, 20, 40, 50, 60]),
        (50, 0, 40, [0, 20, 40]),
        (50, 0, 19, [0]),
        (50, -20, 20, [0, 20]),
        (50, -19, 21, []),
        (50, -30, 20, []),
        (10, -20, 20, [0, 10, 20]),
        (-10, -20, 20, [0, 10, 20]),
    ],
)
def test_which_slots_are_free_within_the_horizon(next_ms, left_ms, horizon, offered):
    known = [None if ms is None else NOW + ms * MS for ms in (next_ms, left_ms)]
    slots = offer([HUNDRED], next_at=known[0], left_at=known[1], most=9, now=NOW, horizon=horizon * MS)
    assert [slots.at(index) for index in range(slots.count)] == after(NOW, *offered)
    two = offer([HUNDRED], next_at=known[0], left_at=known[1], most=2, now=NOW, horizon=horizon * MS)
    assert [two.at(index) for index in range(two.count)] == after(NOW, *offered[:2])


@pytest.mark.parametrize(
    ("interval", "shared", "leaves_out"),
    [(25 * MS, True, True), (25 * MS + TICK, True, False), (25 * MS, False, False)],
)
def test_every_other_slot_is_left_out_where_they_are_close_and_others_make_calls(interval, shared, leaves_out):
    asked = {"next_at": None, "most": 9, "now": NOW, "horizon": 4 * interval, "shared": shared}
    slots = offer([], **asked, found=interval)
    assert (slots.leaves_out, slots.count) == (leaves_out, 3 if leaves_out else 5)


@pytest.mark.parametrize(
    ("next_ms", "left_ms", "released", "after_it"),
    [
        (50, None, [30, 40], (30, None)),
        (50, None, [20, 40], (40, None)),
        (50, None, [30], (50, None)),
        (None, None, [40], (None, None)),
        (50, 20, [30], (30, 20)),
        (50, 20, [0], (50, 0)),
        (50, 20, [-20, 0, 30], (30, -20)),
        (70, 20, [50], (50, 20)),
        (70, 20, [60], (70, 20)),
        (50, 15, [30], (50, 15)),
        (50, 30, [30], (50, 30)),
    ],
)
def test_what_is_free_once_slots_were_not_used(next_ms, left_ms, released, after_it):
    def at(ms):
        return None if ms is None else NOW + ms * MS

    found = unused(at(next_ms), at(left_ms), map(at, released), interval=10 * MS)
    assert found == (at(after_it[0]), at(after_it[1]))
    assert unused(at(next_ms), at(left_ms), map(at, released), interval=timedelta(0)) == (at(next_ms), at(left_ms))


@pytest.mark.parametrize(
    ("limits", "ahead", "burst"),
    [
        (["3600/hour"], HOUR / 30, Burst(1000278 * TICK, 1034771 * TICK, 50 * MS, 1034771 * TICK * 120)),
        (["3600/hour"], HOUR, Burst(1000278 * TICK, 1111420 * TICK, 50 * MS, 1111420 * TICK * 360)),
        (["3600/hour", "2/second"], HOUR, Burst(1000278 * TICK, 1111420 * TICK, SECOND / 2, 1111420 * TICK * 360)),
        (["3600/hour", "1/second"], HOUR, None),
        (["3600/hour", "9/day"], HOUR, None),
        (["9/hour"], HOUR, None),
        (["60/minute"], HOUR, None),
    ],
)
def test_what_may_go_ahead_of_the_pace_of_hours_and_days(limits, ahead, burst):
    assert burst_of(tuple(map(Limit.parse, limits)), ahead) == burst


BURST = Burst(even=10 * SECOND, slow=11 * SECOND, quick=SECOND, ahead=33 * SECOND)


def at_seconds(even, ahead):
    return NextSlot(BURST, NOW + even * SECOND, NOW + ahead * SECOND)


@pytest.mark.parametrize(
    ("even", "ahead", "next_in", "found", "offered"),
    [
        (0, 0, None, 0, [0, 10, 20]),  # at the even pace
        (1, 0, None, 0, [0, 11, 22]),  # while it is paid back
        (0, -9, None, 0, [0, 10, 20]),
        (9, -10, None, 0, [0, 1]),
        (9, -20, None, 0, [0, 1, 2]),
        (9, -99, None, 0, [0, 1, 2, 3]),
        (9, -20, 5, 0, [5, 6, 7]),
        (20, 20, 5, 0, [20]),
        (20, 20, 25, 0, [25]),
        (9, -20, None, 4, [0, 4, 8]),
        (9, -20, None, 11, [0, 11, 22]),
        (9, -20, None, 12, [0, 12, 24]),
    ],
)
def test_slots_go_ahead_together_or_lie_evenly(even, ahead, next_in, found, offered):
    next_at = None if next_in is None else NOW + next_in * SECOND
    asked = {"next_at": next_at, "now": NOW, "horizon": 29 * SECOND, "found": found * SECOND}
    slots = at_seconds(even, ahead).offer(most=9, **asked)
    assert [slots.at(index) for index in range(slots.count)] == [NOW + number * SECOND for number in offered]
    assert at_seconds(even, ahead).offer(most=-1, **asked).count == 0
    assert at_seconds(99, 99).offer(most=9, **asked).count == 0


def test_each_slot_moves_both_times_on_whichever_allowed_it():
    two = at_seconds(5, -99).after([NOW, NOW + 40 * SECOND])
    assert (two.even_at, two.ahead_at) == (NOW + 50 * SECOND, NOW + 18 * SECOND)
    late = at_seconds(5, 9).after([NOW, NOW + SECOND])
    assert (late.even_at, late.ahead_at, late.at) == (NOW + 25 * SECOND, NOW + 31 * SECOND, NOW + 25 * SECOND)


@pytest.mark.parametrize(
    ("even", "ahead", "calls", "apart", "seconds"),
    [
        (0, 0, 5, 0, 50),
        (9, -11, 2, 0, 11),
        (9, -33, 3, 0, 3),
        (-50, -99, 3, 0, 3),
        (-50, -99, 3, 2, 6),
        (-50, -99, 5, 0, 22),
        (5, 30, 1, 0, 15),
    ],
)
def test_when_so_many_calls_have_left(even, ahead, calls, apart, seconds):
    reached = at_seconds(even, ahead).reached_at(calls, begins_at=NOW, apart=apart * SECOND)
    assert reached == NOW + seconds * SECOND


def test_each_period_of_a_limit_has_its_name():
    names = {str(Limit(1, timedelta(seconds=seconds))) for seconds in (1, 60, 3600, 86400)}
    assert names == {"1/second", "1/minute", "1/hour", "1/day"}
    assert unit_of(DAY) == "day"
