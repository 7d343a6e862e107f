"""Calls that go ahead of the even pace: a small list is quick, and no window of any limit holds more than it allows."""

from bisect import bisect_left
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    after_claim,
    after_release,
    clamp_future_times,
    grant,
)
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.rules.limits import LAPSE, QUICK, Limit
from onboarding_worker.core.rules.rate_adaptation import Pace
from tests.core.rules.call_outcomes import MINUTE, NOW, SECOND, rate_limited

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IDENFY = BudgetRule("kyc", (Limit.parse("10000/hour"),), ahead=2 * MINUTE)
THOUSAND = BudgetRule("kyc", (Limit.parse("1000/hour"),), ahead=2 * MINUTE)
UNUSED = BudgetState()


def rule_of(*limits, ahead=2 * MINUTE):
    return BudgetRule("kyc", tuple(Limit.parse(text) for text in limits), ahead=ahead)


def reserved(rule, sequence, *, horizon, bursts=()):
    """All slots that workers sharing the row come to hold. `bursts`: for each step, what `burst` says then.

    `sequence`: (how long after the last claim, how many are wanted, which of the last slots are released: so many, from
    such a place on; how long the provider asks to wait)
    """
    state, now, slots = UNUSED, NOW, []
    for index, (step, most, (number, place), wait) in enumerate(sequence):
        now += step
        rule = replace(rule, ahead=bursts[index % len(bursts)]) if bursts else rule
        granted = grant(state, rule, most=most, now=now, horizon=horizon)
        state = after_claim(state, rule, granted, granted.slots.count, now=now, probe_for=SECOND)
        slots += [granted.slots.at(index) for index in range(granted.slots.count)]
        unused = slots[-place : number - place or None] if number else []
        state = after_release(state, rule, unused)
        slots = [slot for slot in slots if slot not in unused]
        if wait is not None:
            state = after_outcomes(state, rule, [rate_limited(wait, began_at=now)], now=now)
            state = after_outcomes(state, rule, [CallOutcome(now + wait)], now=now + wait)
    return slots


def at_once(rule, number, *, state=UNUSED, now=NOW, until=2 * HOUR, horizon=SECOND / 10):
    """The slots of so many calls, each reserved as soon as there is one."""
    slots, end = [], now + until
    while len(slots) < number and now < end:
        granted = grant(state, rule, most=number - len(slots), now=now, horizon=horizon)
        state = after_claim(state, rule, granted, granted.slots.count, now=now, probe_for=SECOND)
        slots += [granted.slots.at(index) for index in range(granted.slots.count)]
        now = max(granted.again_at or now, slots[-1] if slots else now)
    return slots, state


def most_in(slots, period):
    """The most of these times in any window, wherever it begins: none holds more than one that begins with a slot."""
    return max((bisect_left(slots, slot + period) - index for index, slot in enumerate(slots)), default=0)


long_limits = st.builds(Limit, st.integers(10, 60) | st.integers(1, 10**6), st.sampled_from([HOUR, DAY]))
short_limits = st.builds(Limit, st.integers(1, 30), st.sampled_from([SECOND, MINUTE]))
rules = st.builds(
    lambda long, short, ahead: BudgetRule("kyc", (*long, *short), ahead=ahead),
    st.lists(long_limits, min_size=1, max_size=2),
    st.lists(short_limits, max_size=1),
    st.sampled_from([timedelta(0), 2 * MINUTE, 6 * MINUTE, HOUR]),
)
sequences = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), 2 * HOUR) | st.timedeltas(timedelta(0), 3 * MINUTE) | st.just(timedelta(0)),
        st.integers(0, 5) | st.integers(0, 200),
        st.tuples(st.integers(0, 4), st.integers(1, 20)),
        st.none() | st.none() | st.timedeltas(timedelta(0), 5 * MINUTE),
    ),
    min_size=1,
    max_size=60,
)
late = st.lists(st.sampled_from([timedelta(0), LAPSE]) | st.timedeltas(timedelta(0), LAPSE), min_size=1, max_size=20)


@settings(max_examples=150)
@given(rules, sequences, st.sampled_from([SECOND / 10, 10 * MINUTE]), late)
def test_no_window_of_any_limit_holds_more_calls_than_it_allows(rule, sequence, horizon, late):
    """Slots may be used late, and those that are lost are free for nobody."""
    slots = reserved(rule, sequence, horizon=horizon)
    for limit in rule.limits:
        assert most_in(sorted(slots), limit.period) <= limit.count
    calls = sorted(slot + late[index % len(late)] for index, slot in enumerate(slots))
    for limit in rule.limits if rule.burst else ():
        if limit.period >= HOUR:
            assert most_in(calls, limit.period) <= limit.count


@settings(max_examples=100)
@given(rules, sequences, st.lists(st.sampled_from([timedelta(0), MINUTE, 2 * MINUTE, 6 * MINUTE]), min_size=1))
def test_a_burst_that_is_changed_at_any_time_lets_no_window_hold_more(rule, sequence, bursts):
    slots = sorted(reserved(rule, sequence, horizon=SECOND / 10, bursts=bursts))
    for limit in rule.limits:
        assert most_in(slots, limit.period) <= limit.count


def test_what_a_larger_burst_let_ahead_is_paid_back_first():
    """Else the hour would hold both bursts."""
    slots, state = at_once(replace(IDENFY, ahead=6 * MINUTE), 1_000)
    less, state = at_once(IDENFY, 10_000, state=state, now=slots[-1])
    assert most_in(slots + less, HOUR) <= 10_000
    assert less[0] - slots[0] >= 1_000 * IDENFY.limits[0].interval


# (how long after the list before, how many rows, how far ahead slots are reserved, how many of them are given back)
lists = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), 15 * MINUTE) | st.just(timedelta(0)),
        st.integers(1, 40),
        st.sampled_from([SECOND / 10, 20 * MINUTE]),
        st.integers(0, 2),
    ),
    min_size=5,
    max_size=30,
)


@settings(max_examples=100)
@given(st.integers(10, 40), lists, late)
def test_lists_that_come_one_after_another_get_what_the_limit_allows_and_no_more(count, lists, late):
    rule = BudgetRule("kyc", (Limit(count, HOUR),), ahead=6 * MINUTE)
    state, now, slots = UNUSED, NOW, []
    for quiet, rows, horizon, unused in lists:
        new, state = at_once(rule, rows, state=state, now=now, until=10 * DAY, horizon=horizon)
        now = new[-1] + quiet
        kept = len(new) - min(unused, len(new) - 1)
        state, slots = after_release(state, rule, new[kept:]), slots + new[:kept]
    calls = sorted(slot + late[index % len(late)] for index, slot in enumerate(slots))
    assert most_in(calls, HOUR) <= count


def test_a_list_of_300_at_idenfys_own_limit_needs_15_seconds(subtests):
    for limits, seconds in (
        (["10000/hour"], 15),
        (["10000/hour", "5/second"], 60),
        (["10000/hour", "2000/day"], 12_000),
    ):
        with subtests.test(limits=limits):
            slots, _ = at_once(rule_of(*limits), 300, until=DAY)
            assert (slots[-1] - slots[0]).total_seconds() == pytest.approx(seconds, rel=0.08)


def test_what_went_ahead_is_taken_from_the_pace_until_it_is_paid_back():
    slots, _ = at_once(THOUSAND, 3_000, until=3 * HOUR)
    assert 998 <= most_in(slots, HOUR) <= 1_000
    assert sum(slot < NOW + 2 * SECOND for slot in slots) == 34
    # A long list loses nothing by it: each hour has the whole limit.
    assert len(slots) >= 0.99 * 3_000


def test_after_a_burst_calls_go_on_and_an_event_has_a_slot_at_once():
    slots, state = at_once(IDENFY, 1_000)
    assert max(later - earlier for earlier, later in pairwise(slots)) < 0.4 * SECOND
    granted = grant(state, IDENFY, most=1, now=slots[-1], horizon=SECOND)
    assert granted.slots.at(0) - slots[-1] < 0.4 * SECOND


def test_two_quiet_minutes_later_as_many_may_go_ahead_again_and_sooner_fewer(subtests):
    for before, quiet, ahead in (
        (40, 0, 0),
        (40, 30, 8),
        (40, 130, 33),
        (40, 7200, 33),
        (1_100, 1, 0),
        (1_100, 130, 33),
    ):
        with subtests.test(before=before, quiet=quiet):
            _, state = at_once(THOUSAND, before)
            slots, _ = at_once(THOUSAND, 60, state=state, now=state.next_at + quiet * SECOND)
            quick = sum(later - earlier < 2 * QUICK for earlier, later in pairwise(slots))
            assert quick == pytest.approx(ahead, abs=1)


def test_nothing_goes_ahead_where_it_would_save_nothing_or_is_not_wanted(subtests):
    rules = (
        rule_of("10000/hour", ahead=timedelta(0)),
        rule_of("1000/minute"),
        rule_of("200/second"),
        rule_of("100/day"),
        rule_of("10000/hour", "1/second"),
        rule_of("100000/hour"),
        rule_of("72000/hour"),
    )
    for rule in rules:
        with subtests.test(limits=rule.limits):
            slots, state = at_once(rule, 20, until=10 * DAY)
            apart = {later - earlier for earlier, later in pairwise(slots)}
            assert apart == {max(limit.interval for limit in rule.limits)}
            assert (state.even_at, state.ahead_at) == (None, None)


def test_at_a_lower_limit_that_was_found_nothing_goes_ahead():
    found = BudgetState(pace=Pace(rate=1.0))
    slots, _ = at_once(IDENFY, 20, state=found)
    assert all(later - earlier >= SECOND for earlier, later in pairwise(slots))


def refused(state, *, now, calls=6):
    """The state after so many calls that went ahead were refused."""
    began = [now - SECOND / 10 * index for index in range(calls)]
    return after_outcomes(state, IDENFY, [rate_limited(MINUTE, began_at=at) for at in began], now=now)


def test_a_refusal_ends_what_goes_ahead_and_says_nothing_about_the_even_pace():
    slots, state = at_once(IDENFY, 40)
    state = refused(state, now=slots[-1])
    state = refused(state, now=slots[-1] + SECOND / 10)
    resumed = replace(state, pauses=0)
    slots, state = at_once(IDENFY, 30, state=resumed, now=state.blocked_until)
    assert state.pace.rate is None
    assert all(later - earlier > 0.35 * SECOND for earlier, later in pairwise(slots))
    # At the even pace refusals count as ever.
    state = refused(state, now=slots[-1])
    _, state = at_once(IDENFY, 1, state=replace(state, pauses=0), now=slots[-1] + 2 * MINUTE)
    assert state.pace.rate is not None


def test_a_pause_lets_nothing_ahead_of_calls_that_were_reserved_before_there_was_a_burst():
    state = refused(BudgetState(next_at=NOW + HOUR), now=NOW)
    slots, _ = at_once(IDENFY, 3, state=replace(state, pauses=0), now=state.blocked_until)
    assert all(later - earlier > 0.35 * SECOND for earlier, later in pairwise([NOW + HOUR, *slots[1:]]))


def test_a_burst_that_was_taken_out_is_paid_back_before_the_next_call():
    slots, state = at_once(THOUSAND, 30)
    evenly = replace(THOUSAND, ahead=timedelta(0))
    after, state = at_once(evenly, 1_000, state=state, now=slots[-1])
    assert most_in(slots + after, HOUR) <= 1_000
    assert after[0] - slots[0] >= 30 * evenly.limits[0].interval
    assert (state.even_at, state.ahead_at) == (None, None)


def test_times_of_a_wrong_clock_keep_calls_waiting_for_a_moment_at_most():
    _, state = at_once(IDENFY, 10, now=NOW + DAY)
    state = clamp_future_times(state, IDENFY, now=NOW, reach=SECOND, probe_for=MINUTE)
    slots, _ = at_once(IDENFY, 5, state=state, now=NOW + SECOND)
    assert slots[-1] - NOW < 4 * SECOND


def test_slots_that_were_released_are_free_again():
    _, state = at_once(THOUSAND, 1_050)
    slots, after = at_once(THOUSAND, 3, state=state, now=state.next_at)
    assert after_release(after, THOUSAND, slots[1:]).next_at == slots[1]
    # Of those that went ahead, and while that is paid back, the last.
    for number in (3, 100):
        slots, before = at_once(THOUSAND, number)
        last, after = at_once(THOUSAND, 1, state=before, now=slots[-1])
        free = after_release(after, THOUSAND, last)
        assert at_once(THOUSAND, 1, state=free, now=last[0])[0] == last
        assert after_release(after, THOUSAND, slots) == after
