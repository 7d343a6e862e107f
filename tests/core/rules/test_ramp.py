"""The ramp of a new sender, as arithmetic: whatever the workers do, no day has more messages than it may."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    after_claim,
    after_release,
    clamp_future_times,
    grant,
)
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.ramp import DAY, Ramp
from onboarding_worker.reporting.forecast import Load, forecast

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE, REACH = timedelta(seconds=60), timedelta(milliseconds=100)


def test_what_is_no_ramp_is_refused_with_an_example(subtests):
    for text in ["", "500", "500/hour x2", "0/day x2", "500/day x1", "500/day x0.5", "500/day 2", "-1/day x2"]:
        with subtests.test(text=text), pytest.raises(ValueError, match="500/day x2"):
            Ramp.parse(text)


def test_each_day_has_the_factor_of_the_day_before_until_it_is_no_limit_any_more():
    ramp = Ramp.parse("500/day x2")
    assert [ramp.of_day(day) for day in range(4)] == [500, 1000, 2000, 4000]
    assert [Ramp.parse(text).of_day(1) for text in ("9599999/day x9", "9600000/day x9")] == [86_399_991, None]
    assert [Ramp.parse("1/day x1.01").of_day(day) for day in (365, 366)] == [37, None]
    assert ramp.limit(None, NOON) == Limit(500, DAY)
    assert ramp.limit(NOON, NOON + DAY - timedelta(microseconds=1)) == Limit(500, DAY)
    assert ramp.limit(NOON, NOON + DAY) == Limit(1000, DAY)
    assert ramp.limit(NOON, NOON + 60 * DAY) is None
    assert str(Ramp.parse(" 20/day  x1.5 ")) == "20/day x1.5"
    assert BudgetRule("b", ramp=ramp).at(NOON, NOON + 60 * DAY).limits == ()


@given(
    first=st.integers(2, 30),
    factor=st.sampled_from(["1.5", "2", "3"]),
    pauses=st.lists(st.integers(0, 40_000), max_size=40),
    most=st.integers(1, 50),
)
def test_no_day_has_more_messages_than_its_number_whatever_the_workers_ask_for(first, factor, pauses, most):
    rule = BudgetRule("sender/email", ramp=Ramp.parse(f"{first}/day x{factor}"))
    state, now, sent = BudgetState(), NOON, []
    for pause in [*pauses, *[0] * 100]:
        now += timedelta(seconds=pause)
        state = clamp_future_times(state, rule, now=now, reach=REACH, probe_for=LEASE)
        granted = grant(state, rule, most=most, now=now, horizon=REACH)
        count = granted.slots.count
        state = after_claim(state, rule, granted, count, now=now, probe_for=LEASE)
        sent += [granted.slots.at(index) for index in range(count)]
        if not count:
            assert granted.again_at is not None
            now = max(granted.again_at, now + timedelta(milliseconds=1))
    days = Counter((at - sent[0]) // DAY for at in sent)
    ramp = rule.ramp
    assert ramp is not None
    for day, number in days.items():
        allowed = ramp.of_day(day)
        assert allowed is not None
        # A call that was reserved at the end of a day may leave within the reach of a claim after it.
        assert number <= allowed + 1
    assert sent == sorted(sent)


def test_a_worker_that_releases_a_slot_does_not_begin_the_ramp_again():
    rule = BudgetRule("sender/email", ramp=Ramp.parse("24/day x2"))
    granted = grant(BudgetState(), rule, most=1, now=NOON, horizon=REACH)
    state = after_claim(BudgetState(), rule, granted, 1, now=NOON, probe_for=LEASE)
    assert (state.ramp_from, state.next_at) == (NOON, NOON + timedelta(hours=1))
    assert after_release(state, rule, [NOON]).next_at == NOON
    assert after_release(state, rule, [NOON]).ramp_from == NOON


def test_the_last_call_of_a_day_is_believed_on_the_next_day():
    rule = BudgetRule("sender/email", ramp=Ramp.parse("24/day x3"))
    last = NOON + DAY - timedelta(seconds=1)
    state = BudgetState(ramp_from=NOON, next_at=last + timedelta(hours=1))
    assert clamp_future_times(state, rule, now=NOON + DAY, reach=REACH, probe_for=LEASE) == state


def test_without_a_ramp_a_rule_is_the_same_object():
    rule = BudgetRule("kyc", (Limit.parse("20/second"),))
    assert rule.at(None, NOON) is rule


def test_the_tighter_of_the_ramp_and_the_limits_holds():
    rule = BudgetRule("sender/email", (Limit.parse("10/day"),), ramp=Ramp.parse("500/day x2"))
    granted = grant(BudgetState(), rule, most=5, now=NOON, horizon=timedelta(days=1))
    assert granted.slots.interval == DAY / 10


@given(left=st.integers(1, 5_000), hours=st.integers(0, 200))
def test_the_forecast_ends_when_the_last_message_would_leave(left: int, hours: int):
    ramp, now = Ramp.parse("100/day x2"), NOON + timedelta(hours=hours)
    state = BudgetState(ramp_from=NOON)
    ends = forecast([Load("email", left, BudgetRule("sender/email", ramp=ramp), state)], now=now)
    assert ends.finishes_at is not None
    sent, at = 0, now
    while sent < left:
        limit = ramp.limit(NOON, at)
        assert limit is not None
        sent, at = sent + 1, at + limit.interval
    assert abs(ends.finishes_at - at) <= timedelta(hours=1)
    assert "the ramp of 100/day x2, day" in (ends.limited_by or "")


def test_a_forecast_before_the_first_message_begins_with_the_first_day():
    rule = BudgetRule("sender/email", ramp=Ramp.parse("500/day x2"))
    ends = forecast([Load("email", 3_500, rule, BudgetState())], now=NOON)
    assert ends.finishes_at == NOON + 3 * DAY - DAY / 2000  # the last slot of the third day
    again = forecast([Load("email", 3_500, replace(rule, ramp=None), BudgetState())], now=NOON)
    assert again.finishes_at is not None
    assert again.finishes_at < NOON + timedelta(hours=1)
