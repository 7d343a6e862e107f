"""Caps on credits by period: the calendar's days, weeks and months in UTC."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, calls_left, credits_again_at, with_credits
from onboarding_worker.core.rules.limits import CreditCap, UsedCredits, begin_of, end_of, left_of, used_up

NOW = datetime(2026, 11, 28, 23, 59, 30, tzinfo=UTC)  # a Saturday
DAILY = (CreditCap(3, "day"),)
TIMES = st.integers(0, 70 * 24 * 60).map(lambda minutes: datetime(2026, 1, 20, tzinfo=UTC) + timedelta(minutes=minutes))
CAPS = st.sets(st.builds(CreditCap, st.integers(1, 12), st.sampled_from(["day", "week", "month"])), min_size=1)


@pytest.mark.parametrize(
    ("text", "cap"),
    [("60000", CreditCap(60000)), ("0", CreditCap(0)), (" 5 ", CreditCap(5)), ("2000 / day", CreditCap(2000, "day"))],
)
def test_a_cap_is_read_with_and_without_its_period(text, cap):
    assert CreditCap.parse(text) == cap == CreditCap.parse(str(cap))
    assert cap.in_words.endswith(f" a {cap.period}" if cap.period else " credits")


@pytest.mark.parametrize("text", ["", "-1", "2000/minute", "0 / day", "5 / day / week", "1e3", "٣ / year", "5 /"])
def test_what_is_no_cap_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="2000 / day"):
        CreditCap.parse(text)


def test_the_periods_are_those_of_the_calendar_in_utc():
    day = date(2026, 11, 28)
    assert [end_of(period, day).date() for period in ("day", "week", "month")] == [
        date(2026, 11, 29),
        date(2026, 11, 30),
        date(2026, 12, 1),
    ]
    assert end_of("month", date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_used_up_day_waits_for_midnight_and_a_used_up_month_for_the_first():
    spent = UsedCredits().plus(3, on=NOW.date(), now=NOW)
    assert used_up(DAILY, spent, NOW)[0] == datetime(2026, 11, 29, tzinfo=UTC)
    assert used_up((*DAILY, CreditCap(3, "month")), spent, NOW)[0] == datetime(2026, 12, 1, tzinfo=UTC)
    assert used_up(DAILY, spent, NOW + timedelta(minutes=1)) is None


def test_a_refund_goes_back_to_the_day_of_its_call_and_never_to_a_later_one():
    spent = UsedCredits().plus(3, on=NOW.date(), now=NOW)
    tomorrow = NOW + timedelta(minutes=1)
    spent = spent.plus(3, on=tomorrow.date(), now=tomorrow).plus(-2, on=NOW.date(), now=tomorrow)
    assert (left_of(DAILY, spent, tomorrow), spent.week) == (0, 4)


def test_a_process_whose_clock_is_behind_buys_nothing_in_the_name_of_yesterday():
    spent = UsedCredits().plus(3, on=NOW.date() + timedelta(days=1), now=NOW + timedelta(minutes=1))
    assert left_of(DAILY, spent, NOW) == 0


@pytest.mark.parametrize(
    ("day", "month", "counted"),
    [
        (27, 11, (28, 1, 2, 3)),
        (28, 11, (28, 1, 2, 3)),
        (29, 11, (29, 0, 2, 3)),
        (30, 11, (30, 0, 0, 3)),
        (1, 12, (1, 0, 0, 0)),
    ],
)
def test_in_a_new_day_week_and_month_nothing_is_used_yet(day, month, counted):
    now = datetime(2026, month, day, 1, tzinfo=UTC)
    used = UsedCredits(date(2026, 11, 28), 1, 2, 3).at(now)
    assert (used.day.day, used.of("day"), used.of("week"), used.of("month")) == counted
    assert UsedCredits().at(now) == UsedCredits(now.date())


def test_of_several_caps_the_one_with_the_fewest_credits_left_holds():
    spent = UsedCredits().plus(2, on=NOW.date(), now=NOW)
    assert [left_of(caps, spent, NOW) for caps in [(), DAILY, (*DAILY, CreditCap(9, "month"))]] == [None, 1, 1]
    assert left_of((CreditCap(9, "week"), CreditCap(1, "month")), spent, NOW) == 0


def test_the_cap_in_all_and_those_by_period_hold_together():
    rule = BudgetRule("kyc", credits=4, credits_by=DAILY)
    state = with_credits(BudgetState(), {NOW.date(): 3}, now=NOW)
    tomorrow = NOW + timedelta(minutes=1)
    assert calls_left(state, rule, now=NOW) == 0
    assert credits_again_at(state, rule, now=NOW) == datetime(2026, 11, 29, tzinfo=UTC)
    assert calls_left(state, rule, now=tomorrow) == 1


@given(CAPS, st.lists(st.tuples(TIMES, st.integers(0, 9), st.booleans()), max_size=40))
def test_whatever_is_asked_and_refunded_no_period_gets_more_than_its_cap(caps, asked):
    caps = tuple({cap.period: cap for cap in caps}.values())
    rule, state = BudgetRule("kyc", credits_by=caps), BudgetState()
    used = Counter()  # by period and its first day: calls that were made and cost
    waiting = []  # days of calls whose refund comes later
    for now, wanted, free in sorted(asked):
        if waiting and free:
            day = waiting.pop()
            state = with_credits(state, {day: -1}, now=now)
            used.subtract({(cap.period, begin_of(cap.period, day)): 1 for cap in caps})
        calls = min(wanted, calls_left(state, rule, now=now))
        state = with_credits(state, {now.date(): calls}, now=now)
        used.update({(cap.period, begin_of(cap.period, now.date())): calls for cap in caps})
        waiting += [now.date()] * (calls > 0)
        assert all(used[cap.period, begin_of(cap.period, now.date())] <= cap.count for cap in caps)
        if calls < wanted and calls_left(state, rule, now=now) == 0:
            again = credits_again_at(state, rule, now=now)
            assert calls_left(state, rule, now=again) > 0
