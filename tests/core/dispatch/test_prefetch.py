"""How many rows a dispatcher may open, whatever its pace is."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.dispatch.prefetch import ClaimPlan, FlushTimes, Prefetch, SteadyTime
from onboarding_worker.core.foundation.clock import system_clock

QUICK, FLUSH_EVERY, CLAIM_EVERY = (timedelta(milliseconds=number) for number in (10, 50, 200))
OPEN_LEAST, OPEN_MOST, CLAIM_MOST, EVENTS_AT_ONCE, MOST_PER_PERMIT = 3, 400, 200, 20, 60
LIMITS = [None, 0.1, 1, 20, 200, 2_000, 20_000]  # calls a second


def prefetch(*, permits, calls=0, begun=0, flushes=(QUICK,), limit=None, in_flight=0, opened=0, unwritten=0):
    """Of a dispatcher whose calls ended, and began, at this pace, in calls of 50 ms, for a second."""
    at = 0.0
    found = Prefetch(permits, lambda: at)
    for recent, pace in ((found.ended, calls), (found.begun, begun)):
        for number in range(20 * pace):
            at = number / pace * FLUSH_EVERY.total_seconds()
            recent.add()
    at = 1.0
    for took in flushes:
        found.flush_times.add(took)
        found.of_batches.add(took)
    spacing = timedelta(seconds=1 / limit) if limit else timedelta(0)
    return found.ahead(in_flight=in_flight, opened=opened, unwritten=unwritten, events=0, spacing=spacing)


numbers = st.integers(0, 3000)


@given(
    permits=st.integers(0, 2000),
    calls=st.integers(0, 300),
    begun=st.integers(0, 300),
    flushes=st.lists(st.timedeltas(timedelta(0), timedelta(seconds=3)), max_size=9),
    limit=st.sampled_from(LIMITS),
    in_flight=numbers,
    opened=numbers,
    unwritten=numbers,
)
def test_at_no_pace_more_rows_are_opened_than_are_called_until_the_next_flush_and_while_one_is_under_way(
    permits, calls, begun, flushes, limit, in_flight, opened, unwritten
):
    found = prefetch(
        permits=permits,
        calls=calls,
        begun=begun,
        flushes=flushes,
        limit=limit,
        in_flight=in_flight,
        opened=opened,
        unwritten=unwritten,
    )
    if limit:
        lately = sorted(flushes[-8:]) or [timedelta(0)]
        span = max(found.flush_every, lately[(len(lately) - 1) // 2])  # the usual flush, where it takes longer
        can_begin = 1.5 * begun * (span / FLUSH_EVERY) + 3 if begun else permits - in_flight
        between = max(min(limit * span.total_seconds(), can_begin), 3)
    else:
        spans = 2 if found.flush_every > FLUSH_EVERY else 1
        between = spans * (calls + 1) + max(permits - in_flight, 0)  # a free permit takes its row at once
    most = min(between + min(between, opened), OPEN_MOST - unwritten)  # those that are called meanwhile
    assert opened + found.rows <= max(most, opened)
    assert found.rows >= 0


def test_rows_for_the_calls_of_50_ms_are_opened_beyond_the_permits_and_for_twice_these_at_full_pace(subtests):
    cases = [(0, 0), (1, 1), (10, 10), (50, 50), (51, 102), (90, 180), (5000, CLAIM_MOST)]  # calls in 50 ms
    for calls, opened in cases:
        with subtests.test(calls=calls):
            assert prefetch(permits=100, calls=calls, in_flight=100).rows == opened


def test_a_dispatcher_without_a_permit_has_room_for_rows_should_its_claim_bring_it_one():
    assert prefetch(permits=0, calls=0, limit=20).rows == OPEN_LEAST


def test_results_that_are_not_written_take_the_place_of_rows():
    assert prefetch(permits=100, calls=5000, in_flight=100, unwritten=OPEN_MOST - 10).rows == 10


def test_under_a_limit_rows_are_opened_and_slots_reserved_for_the_calls_until_the_next_flush(subtests):
    # calls a second, horizon in ms, rows
    cases = [(2000, 40, 60), (1000, 60, 50), (400, 60, 20), (200, 110, 20), (50, 110, 5), (20, 160, 3), (1, 160, 3)]
    for limit, horizon, rows in cases:
        with subtests.test(limit=limit):
            found = prefetch(permits=500, limit=limit)
            assert found.horizon == timedelta(milliseconds=horizon)
            assert found.rows == rows


def test_where_flushes_take_long_rows_are_opened_for_one_and_by_the_pace_that_the_calls_have(subtests):
    """Five accounts on one machine that makes a fifth of what they may: few more rows wait for calls than are made."""
    slow = [timedelta(milliseconds=400)]
    for begun, rows in [(0, 40), (5, 40), (3, 39), (2, 27), (1, 15)]:  # 100 calls a second are allowed, 40 in a flush
        with subtests.test(begun=begun):
            assert prefetch(permits=500, begun=begun, limit=100, flushes=slow).rows == rows


def test_the_pace_of_the_calls_is_that_since_the_first_of_the_last_second():
    at = 0.0
    found = Prefetch(500, lambda: at)
    assert found.begun.within(FLUSH_EVERY) is None
    for at, calls in [(0.0, 3), (0.1, 5), (0.5, 0), (1.01, 0), (1.2, 0)]:
        for _ in range(calls):
            found.begun.add()
        pace = {0.0: 3, 0.1: 4, 0.5: 0.8, 1.01: 5 / 18.2, 1.2: None}[at]
        assert found.begun.within(FLUSH_EVERY) == (pace if pace is None else pytest.approx(pace)), at


def test_with_all_permits_in_use_and_rows_enough_a_few_events_are_opened_all_the_same():
    found = prefetch(permits=10, calls=5, in_flight=10, opened=10)
    assert found.rows <= 0
    assert found.events == EVENTS_AT_ONCE


def test_a_claim_waits_until_the_opened_rows_last_hardly_longer_than_a_flush():
    """A transaction for a few rows costs nearly as much as one for many."""
    assert not prefetch(permits=100, calls=100, in_flight=100, opened=41).worth_a_claim
    assert prefetch(permits=100, calls=100, in_flight=100, opened=40).worth_a_claim
    assert prefetch(permits=100, calls=100, in_flight=70).worth_a_claim


def test_a_claim_is_worth_it_once_a_quarter_of_the_permits_is_free_beyond_the_opened_rows(subtests):
    for permits, in_flight, opened, worth in [
        (100, 70, 5, True),
        (100, 71, 5, False),
        (7, 4, 2, True),
        (7, 5, 2, False),
        (2, 0, 1, True),
        (2, 1, 1, False),
        (0, 0, 1, False),
        (100, 100, 0, True),
    ]:
        with subtests.test(permits=permits, in_flight=in_flight, opened=opened):
            found = prefetch(permits=permits, calls=1, in_flight=in_flight, opened=opened)
            assert found.worth_a_claim is worth


def test_a_permit_has_so_many_rows_at_most_and_a_dispatcher_without_any_as_many_as_one():
    assert [prefetch(permits=permits, calls=75, in_flight=permits).rows for permits in (0, 1, 2, 3)] == [
        MOST_PER_PERMIT,
        MOST_PER_PERMIT,
        2 * MOST_PER_PERMIT,
        150,
    ]


def test_the_pace_is_that_of_the_best_moment_of_the_last_second():
    at = 0.0
    found = Prefetch(100, lambda: at)
    for number in range(12):
        at = 0.049 if number < 10 else 0.51
        found.ended.add()
    for at, rows in [(0.9, 10), (1.0, 10), (1.06, 2), (1.5, 2), (1.56, 0)]:
        ahead = found.ahead(in_flight=100, opened=0, unwritten=0, events=0, spacing=timedelta(0))
        assert (at, ahead.rows) == (at, rows)


def test_flushes_follow_sooner_where_a_limit_allows_many_calls_in_between_and_later_where_few(subtests):
    later = [(None, 50), (1, 150), (20, 150), (25, 120), (30, 100), (200, 100), (250, 80), (400, 50), (1000, 50)]
    for limit, milliseconds in [*later, (1010, 30), (1250, 30), (20_000, 30)]:
        with subtests.test(limit=limit):
            flush_every = prefetch(permits=500, calls=1, limit=limit).flush_every
            assert flush_every / timedelta(milliseconds=1) == pytest.approx(milliseconds, rel=1e-4)


def test_without_a_limit_flushes_follow_later_where_more_than_a_thousand_calls_a_second_end():
    assert prefetch(permits=500, calls=50).flush_every == FLUSH_EVERY
    assert prefetch(permits=500, calls=51).flush_every == 2 * FLUSH_EVERY


def test_a_second_flush_begins_next_to_one_that_usually_lasts_longer_than_the_time_between_two(subtests):
    for flushes, long in [([50], False), ([51], True), ([51, 10, 10], False), ([51, 10, 51], True), ([], False)]:
        with subtests.test(flushes=flushes):
            took = [timedelta(milliseconds=each) for each in flushes]
            assert prefetch(permits=10, calls=1, flushes=took).flushes_take_long is long


def test_on_a_slow_database_slots_are_reserved_for_the_time_of_two_flushes_and_no_longer(subtests):
    for took, horizon in [(0, 50), (20, 70), (50, 100), (200, 400), (900, 1800)]:
        with subtests.test(took=took):
            found = prefetch(permits=10, calls=1, flushes=[timedelta(milliseconds=took)], limit=500)
            assert found.horizon == timedelta(milliseconds=horizon)


def test_those_of_the_opened_rows_that_are_called_while_the_flush_lasts_make_room_for_as_many():
    flushes = [timedelta(milliseconds=25), timedelta(milliseconds=50)]
    found = [
        prefetch(permits=100, calls=40, flushes=flushes, in_flight=100, opened=opened).rows
        for opened in (0, 10, 30, 60)
    ]
    assert found == [40, 40, 30, 0]


def test_slots_begin_later_where_most_of_the_last_flushes_were_long(subtests):
    cases = [
        ([], 0),
        ([10, 20, 30, 200], 0),
        ([10, 900, 10], 0),  # one long one among short ones
        ([600, 900, 10], 400),  # a call may be 200 ms late
        ([300, 400, 350], 150),
        ([400, 400, *[10] * 7], 0),  # long ones are forgotten
        ([20_000, 20_000], 4_800),
    ]
    for flushes, lead in cases:
        with subtests.test(flushes=flushes):
            flush_times = FlushTimes()
            for milliseconds in flushes:
                flush_times.add(timedelta(milliseconds=milliseconds))

            assert flush_times.lead == timedelta(milliseconds=lead)
            assert flush_times.longest <= timedelta(seconds=5)


def test_how_short_and_how_long_the_last_eight_flushes_were_is_known():
    flush_times, found = FlushTimes(), []
    for milliseconds in [400, 5, *[10] * 8]:
        flush_times.add(timedelta(milliseconds=milliseconds))
        found.append((flush_times.shortest.microseconds // 1000, flush_times.longest.microseconds // 1000))
    assert found == [(400, 400), *[(5, 400)] * 7, (5, 10), (10, 10)]


async def test_a_wake_up_followed_while_a_claim_is_under_way_plans_another_claim_whatever_this_one_finds(subtests):
    """Its row may have been written after the claim looked. Nothing else would claim it before the sweep."""
    for left_before in (None, timedelta(0), timedelta(seconds=30)):
        with subtests.test(left_before=left_before):
            time = SteadyTime(system_clock)
            plan = ClaimPlan(time, lambda: None)
            plan.begins(for_events=False)
            plan.ends(None if left_before is None else time() + left_before, found=5, asked=5, for_events=False)
            plan.begins(for_events=False)
            plan.wake(for_events=False)
            plan.follow_wake_ups()
            plan.ends(None, found=0, asked=5, for_events=False)

            assert plan.at is not None
            assert plan.at <= time() + CLAIM_EVERY
