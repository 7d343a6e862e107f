"""Rate limits as arithmetic: however slots are reserved, no window of any limit holds more than it allows."""

from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, after_claim, after_release, grant
from onboarding_worker.core.rules.limits import UNITS, Limit, offer, spacing, tightest

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HORIZON = timedelta(milliseconds=100)

limits = st.builds(Limit, st.one_of(st.integers(1, 50), st.integers(1, 10**9)), st.sampled_from(list(UNITS.values())))
# (how long after the last reservation, how many are wanted, how many of those granted find a row, whether other workers
# make calls too, and which of all slots that are reserved by then are released unused: so many, from such a place on)
reservations = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), timedelta(seconds=5)) | st.timedeltas(timedelta(0), timedelta(milliseconds=200)),
        st.integers(0, 300),
        st.integers(0, 300),
        st.booleans(),
        st.tuples(st.integers(0, 4), st.integers(1, 40)),
    ),
    min_size=1,
    max_size=30,
)
LEASE = timedelta(seconds=60)


def reserved(rule, sequence, horizon=HORIZON):
    """All slots that workers sharing the row come to hold, with the time at which each was reserved."""
    state, now, slots = BudgetState(), NOW, []
    for step, most, found, shared, (number, place) in sequence:
        now += step
        granted = grant(state, rule, most=most, now=now, horizon=horizon, shared=shared)
        claimed = min(found, granted.slots.count)
        new = [granted.slots.at(index) for index in range(claimed)]
        state = after_claim(state, rule, granted, claimed, now=now, probe_for=LEASE)
        slots += [(slot, now) for slot in new]
        unused = slots[-place : number - place or None] if number else []
        state = after_release(state, rule, [slot for slot, _ in unused])
        slots = [each for each in slots if each not in unused]
    return slots


@settings(max_examples=100)
@given(st.lists(limits, min_size=1, max_size=4), reservations)
def test_no_window_of_any_limit_holds_more_slots_than_it_allows(chosen, sequence):
    slots = sorted(slot for slot, _ in reserved(BudgetRule("kyc", tuple(chosen)), sequence))
    for limit in chosen:
        for index, slot in enumerate(slots):
            # the window that begins with this slot; one that begins elsewhere holds no more
            in_window = bisect_left(slots, slot + limit.period) - index
            assert in_window <= limit.count


@settings(max_examples=100)
@given(st.lists(limits, min_size=1, max_size=4), reservations)
def test_slots_are_never_nearer_to_each_other_than_the_even_spacing(chosen, sequence):
    slots = sorted(slot for slot, _ in reserved(BudgetRule("kyc", tuple(chosen)), sequence))
    spacing = max(limit.interval for limit in chosen)
    assert all(later - earlier >= spacing for earlier, later in pairwise(slots))


@given(st.lists(limits, min_size=1, max_size=4), reservations, st.timedeltas(timedelta(0), timedelta(seconds=20)))
def test_no_slot_lies_before_its_reservation_or_beyond_the_horizon(chosen, sequence, horizon):
    for slot, at in reserved(BudgetRule("kyc", tuple(chosen)), sequence, horizon):
        assert at <= slot <= at + horizon


@given(limits, st.integers(1, 300))
def test_an_unhurried_worker_gets_every_slot_that_the_limit_has(limit, wanted):
    slots = offer([limit], next_at=None, most=wanted, now=NOW, horizon=limit.interval * (wanted - 1))
    assert slots.count == wanted
    assert slots.reserved(wanted)[0] == NOW + limit.interval * wanted


QUICK = BudgetRule("kyc", (Limit.parse("200/second"),))
MILLISECOND = timedelta(milliseconds=1)


def claimed(state, number, *, after=0, rule=QUICK, shared=True, found=None):
    """The slots of a claim of so many, in milliseconds after NOW, and the state then."""
    now = NOW + after * MILLISECOND
    granted = grant(state, rule, most=number, now=now, horizon=HORIZON, shared=shared)
    count = granted.slots.count if found is None else found
    slots = [granted.slots.at(index) for index in range(count)]
    state = after_claim(state, rule, granted, count, now=now, probe_for=LEASE)
    return [(slot - NOW) // MILLISECOND for slot in slots], state


def test_workers_that_share_an_account_leave_every_other_slot_to_each_other():
    first, state = claimed(BudgetState(), 5)
    second, state = claimed(state, 8)
    third, _ = claimed(state, 4)
    assert first == [0, 10, 20, 30, 40]
    assert second == [5, 15, 25, 35, 45, 50, 60, 70]
    assert third == [55, 65, 75, 80]


def test_slots_are_left_out_only_where_they_are_close(subtests):
    """At 40 calls a second and more; a slower account's claims reserve few slots."""
    for count, slots in [(40, [0, 50, 100]), (39, [0, 25, 51])]:
        with subtests.test(count=count):
            rule = BudgetRule("kyc", (Limit.parse(f"{count}/second"),))
            assert claimed(BudgetState(), 3, rule=rule)[0] == slots


def test_a_worker_whose_companion_is_gone_uses_the_slots_that_it_left_out():
    _, state = claimed(BudgetState(), 100)
    again, _ = claimed(state, 100, after=50)
    assert again == [55, 65, 75, 85, 95, 105, *range(110, 151, 10)]


def test_a_worker_that_leaves_out_slots_claims_again_before_they_are_over():
    granted = grant(BudgetState(), QUICK, most=100, now=NOW, horizon=HORIZON, shared=True)
    assert granted.slots.again_at(11, horizon=HORIZON, now=NOW) == NOW
    later = NOW + 50 * MILLISECOND
    granted = grant(BudgetState(next_at=later), QUICK, most=100, now=NOW, horizon=HORIZON, shared=True)
    assert granted.slots.again_at(6, horizon=HORIZON, now=NOW) == NOW + 45 * MILLISECOND
    alone = grant(BudgetState(next_at=later), QUICK, most=100, now=NOW, horizon=HORIZON)
    assert alone.slots.again_at(11, horizon=HORIZON, now=NOW) == NOW + 105 * MILLISECOND - HORIZON / 3


def test_a_worker_alone_leaves_out_no_slot_and_takes_those_that_are_left():
    _, state = claimed(BudgetState(), 3)
    alone, state = claimed(state, 6, shared=False)
    assert (alone, state.left_at) == ([5, 15, 25, 30, 35, 40], None)


def test_left_out_slots_that_are_over_are_lost():
    _, state = claimed(BudgetState(), 5)
    assert claimed(state, 3, after=23)[0] == [25, 35, 45]
    assert claimed(state, 2, after=123)[0] == [123, 133]


def test_left_out_slots_beyond_the_horizon_wait_for_a_later_claim():
    state = BudgetState(next_at=NOW + 150 * MILLISECOND, left_at=NOW + 95 * MILLISECOND)
    granted = grant(state, QUICK, most=9, now=NOW, horizon=HORIZON, shared=True)
    assert granted.slots.count == 1
    later = after_claim(state, QUICK, granted, 1, now=NOW, probe_for=LEASE)
    assert (later.next_at, later.left_at) == (state.next_at, NOW + 105 * MILLISECOND)
    none = grant(later, QUICK, most=9, now=NOW, horizon=HORIZON, shared=True)
    assert (none.slots.count, none.again_at) == (0, NOW + 105 * MILLISECOND - HORIZON / 3)


def test_with_few_slots_in_a_second_none_is_left_out():
    rule = BudgetRule("kyc", (Limit.parse("20/second"),))
    slots, state = claimed(BudgetState(), 5, rule=rule)
    assert (slots, state.left_at) == ([0, 50, 100], None)


def test_slots_that_were_left_out_under_another_limit_are_not_used():
    _, state = claimed(BudgetState(), 5)
    slower = BudgetRule("kyc", (Limit.parse("90/second"),))
    slots, _ = claimed(state, 2, rule=slower)
    assert slots == [50, 72]


def test_slots_that_were_released_are_free_with_those_left_out_between_them():
    slots, state = claimed(BudgetState(), 5)
    state = after_release(state, QUICK, [NOW + at * MILLISECOND for at in slots[2:]])
    assert (state.next_at, state.left_at) == (NOW + 20 * MILLISECOND, NOW + 5 * MILLISECOND)
    state = after_release(state, QUICK, [NOW + at * MILLISECOND for at in slots[:2]])
    assert (state.next_at, state.left_at) == (NOW, None)


def test_left_out_slots_that_were_taken_and_released_are_free_again():
    _, before = claimed(BudgetState(), 8)
    slots, state = claimed(before, 5)
    assert state.left_at == NOW + 55 * MILLISECOND
    released = after_release(state, QUICK, [NOW + at * MILLISECOND for at in slots])
    assert released == replace(state, left_at=before.left_at)


def test_after_a_change_of_the_limit_a_slot_that_was_not_used_frees_no_reserved_one():
    slots, state = claimed(BudgetState(), 4)
    assert slots == [0, 10, 20, 30]
    slower = BudgetRule("kyc", (Limit.parse("100/second"),))
    assert after_release(state, slower, [NOW + 20 * MILLISECOND, NOW + 30 * MILLISECOND]) == state


def test_slots_that_were_not_claimed_are_there_for_the_next_worker():
    rule = BudgetRule("kyc", (Limit.parse("10/second"),))
    first = grant(BudgetState(), rule, most=10, now=NOW, horizon=timedelta(seconds=1))
    state = after_claim(BudgetState(), rule, first, 3, now=NOW, probe_for=HORIZON)
    second = grant(state, rule, most=10, now=NOW, horizon=timedelta(seconds=1))
    assert (first.slots.count, second.slots.first) == (10, NOW + timedelta(milliseconds=300))


def test_slots_that_were_not_used_are_not_made_up_for():
    state = BudgetState(next_at=NOW - timedelta(hours=1))
    rule = BudgetRule("kyc", (Limit.parse("10/second"),))
    granted = grant(state, rule, most=100, now=NOW, horizon=HORIZON)
    assert [granted.slots.at(index) for index in range(granted.slots.count)] == [NOW, NOW + HORIZON]


def test_with_nothing_free_within_the_horizon_it_says_when_to_ask_again():
    state = BudgetState(next_at=NOW + timedelta(seconds=3))
    rule = BudgetRule("kyc", (Limit.parse("10/second"),))
    granted = grant(state, rule, most=100, now=NOW, horizon=HORIZON)
    assert (granted.slots.count, granted.again_at) == (0, NOW + timedelta(seconds=3) - HORIZON / 3)
    later = grant(state, rule, most=100, now=granted.again_at, horizon=HORIZON)
    assert later.slots.count > 0


def test_without_a_limit_as_many_as_are_wanted_may_go_at_once():
    slots = offer([], next_at=None, most=500, now=NOW, horizon=HORIZON)
    assert (slots.count, slots.at(499)) == (500, NOW)


@pytest.mark.parametrize("most", [0, -1])
def test_no_more_than_wanted_is_never_less_than_nothing(most):
    for chosen in ([], [Limit.parse("1/second")]):
        assert offer(chosen, next_at=None, most=most, now=NOW, horizon=HORIZON).count == 0


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("20/second", Limit(20, timedelta(seconds=1))),
        ("600/minute", Limit(600, timedelta(minutes=1))),
        (" 10000 / hours ", Limit(10000, timedelta(hours=1))),
        ("50000/day", Limit(50000, timedelta(days=1))),
    ],
)
def test_a_limit_is_read(text, limit):
    assert Limit.parse(text) == limit
    assert Limit.parse(str(limit)) == limit


def test_a_text_that_is_no_limit_is_refused_with_an_example(subtests):
    cases = ["", "20", "0/second", "-1/second", "1.5/second", "20/week", "20 per second", "1/second/second", "1e3/hour"]
    for text in cases:
        with subtests.test(text=text), pytest.raises(ValueError, match="20/second"):
            Limit.parse(text)


def test_the_spacing_is_rounded_up_to_the_microsecond_so_that_the_window_is_kept():
    assert Limit(3, timedelta(seconds=1)).interval == timedelta(microseconds=333334)


def test_the_tightest_limit_is_the_one_with_the_widest_spacing():
    assert tightest([Limit.parse("20/second"), Limit.parse("10000/hour")]) == Limit.parse("10000/hour")
    assert tightest([]) is None


def test_a_process_spaces_its_calls_by_the_tightest_limit():
    assert spacing([Limit.parse("20/second"), Limit.parse("600/minute")]) == timedelta(milliseconds=100)
    assert spacing([]) == timedelta(0)
