"""When a batch ends: by its limits and the measured pace, and only roughly where neither is known."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.credits import CreditCap, UsedCredits
from worker.core.limits.rate_adaptation import Pace
from worker.core.limits.rate_limits import Limit
from worker.core.limits.throughput import FRESH, MeasuredThroughput
from worker.reporting.forecast import Load, forecast, last_day

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 28, 23, 59, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
rows = st.integers(1, 10**6)
rates = st.integers(1, 1000)


def load(name="kyc", left=600, *, limit=None, measured=None, since=SECOND, **state):
    """`measured`: calls per second, until `since` ago."""
    pace = MeasuredThroughput() if measured is None else MeasuredThroughput(measured * 60.0, 60.0, NOW - since)
    limits = () if limit is None else (Limit(limit, SECOND),)
    return Load(name, left, BudgetRule(name, limits, 50 if name == "kyc" else 4), BudgetState(measured=pace, **state))


def takes(*loads):
    return (forecast(loads, now=NOW).finishes_at - NOW).total_seconds()


@given(rows, rates, rates)
def test_the_slower_of_two_limits_decides_whatever_would_be_assumed(left, account, sender):
    both = forecast([load(left=left, limit=account), load("email", left, limit=sender)], now=NOW)
    assert (both.finishes_at - NOW).total_seconds() == pytest.approx(left / min(account, sender), rel=0.01)
    assert both.limited_by.startswith("kyc" if account <= sender else "email")
    one = forecast([load(left=left, limit=account), load("email", left)], now=NOW)
    assert (one.finishes_at - NOW).total_seconds() == pytest.approx(left / account, rel=0.01)
    assert (one.limited_by, one.assumed) == (f"kyc: the limit of {account}/second", False)


@given(rows, rates, rates)
def test_a_measured_pace_outranks_a_faster_limit_and_never_makes_it_faster(left, limit, measured):
    found = takes(load(left=left, limit=limit, measured=measured))
    assert found == pytest.approx(left / min(limit, measured), rel=0.01)
    old = takes(load(left=left, limit=limit, measured=measured, since=FRESH + SECOND))
    assert old == pytest.approx(left / limit, rel=0.01)


def test_a_small_list_under_an_hourly_limit_goes_ahead_of_its_pace_and_is_forecast_so(subtests):
    rule = BudgetRule("kyc", (Limit(10_000, timedelta(hours=1)),), ahead=timedelta(minutes=2))
    lately = MeasuredThroughput(2.78 * 60.0, 60.0, NOW)  # the even pace of another list
    cases = (
        (300, BudgetState(measured=lately), 15),
        (1_000, BudgetState(), 1_000 * 0.3724 - 124),
        (300, BudgetState(next_at=NOW, even_at=NOW + timedelta(minutes=2), ahead_at=NOW), 300 * 0.3724),
        (300, BudgetState(pace=Pace(rate=2.0)), 150),
        (300, BudgetState(measured=MeasuredThroughput(60.0, 60.0, NOW)), 300),
    )
    for left, state, seconds in cases:
        with subtests.test(left=left, state=state):
            assert takes(Load("kyc", left, rule, state)) == pytest.approx(seconds, rel=0.01)


@given(rows, rates, st.sampled_from([SECOND, timedelta(days=9)]))
def test_without_a_limit_the_last_measured_pace_counts_however_old(left, measured, since):
    found = forecast([load(left=left, measured=measured, since=since)], now=NOW)
    assert (found.finishes_at - NOW).total_seconds() == pytest.approx(left / measured, rel=0.01)
    assert not found.assumed


@given(rows, rows)
def test_where_nothing_is_known_the_time_is_rough(calls, messages):
    found = forecast([load(left=calls), load("email", messages)], now=NOW)
    assert found.assumed
    assert "roughly" in found.limited_by


def test_a_known_pace_of_few_rows_does_not_hide_an_assumption_about_many():
    loads = [load(left=10, limit=20), load("other", 20_000)._replace(name="other")]
    found = forecast(loads, now=NOW)
    assert (found.assumed, found.limited_by.startswith("other")) == (True, True)


def test_what_limits_the_pace_is_named():
    cases = [
        (load(limit=20), "kyc: the limit of 20/second"),
        (load(limit=20, measured=19), "kyc: the limit of 20/second"),
        (load(limit=20, measured=5), "kyc: the pace of the last calls, 5/second"),
        (load(limit=20, pace=Pace(rate=10.0)), "kyc: the limit of 10/second that was found"),
        (load(measured=123.456), "kyc: the pace of the last calls, 123/second"),
        (load(limit=20, blocked_until=NOW + SECOND, pause_reason="HTTP 429"), "kyc is paused: HTTP 429"),
        # A call that another worker had begun has succeeded since.
        (load(limit=20, blocked_until=NOW + SECOND), "kyc is paused: the wait that was asked for is not over"),
    ]
    assert [(one, got) for one, words in cases if (got := forecast([one], now=NOW).limited_by) != words] == []


def test_a_pause_counts_where_the_pace_is_only_assumed():
    paused = load("email", 600, blocked_until=NOW + 300 * SECOND, pause_reason="refused")
    found = forecast([load(limit=20), paused], now=NOW)
    assert (found.finishes_at >= NOW + 300 * SECOND, found.limited_by) == (True, "email is paused: refused")


def test_an_outage_has_no_end_and_is_named():
    open_ = {"opened_at": NOW - 600 * SECOND, "pause_reason": "7 calls in a row failed"}
    why = "kyc is paused: no call has succeeded since 2026-11-20T11:50:00Z: 7 calls in a row failed"
    for waits in ({"blocked_until": NOW + SECOND}, {"probe_until": NOW + SECOND}):
        found = forecast([load("email", 9, limit=1), load(limit=20, **open_, **waits)], now=NOW)
        assert (found.finishes_at, found.limited_by) == (None, why)
    # No call has been tried since the pause: it may be over.
    assert forecast([load(limit=20, **open_)], now=NOW).finishes_at is not None


def test_where_calls_are_refused_at_the_lowest_rate_that_is_tried_no_time_is_said(subtests):
    lowest = Pace(rate=200.0, refused_from=400.0, lowered_at=NOW - 20 * SECOND, refused_at=NOW - SECOND)
    found = forecast([load(limit=2000, pace=lowest)], now=NOW)
    assert found.finishes_at is None
    assert found.limited_by == (
        "kyc: calls are refused at 200/second too, the lowest rate that is tried; give its real `limits`"
    )
    measured = forecast([load(limit=2000, measured=4, pace=lowest)], now=NOW)
    assert measured.finishes_at == NOW + 600 / 4 * SECOND
    for other in (
        replace(lowest, rate=300.0),
        replace(lowest, refused_at=NOW - 61 * SECOND),
        replace(lowest, lowered_at=NOW),
    ):
        with subtests.test(other=other):
            assert forecast([load(limit=2000, pace=other)], now=NOW).finishes_at is not None


def test_a_pause_and_reserved_slots_come_first():
    assert takes(load(limit=20, blocked_until=NOW + 9 * SECOND)) == pytest.approx(39)
    assert takes(load(limit=20, next_at=NOW + 2 * SECOND)) == pytest.approx(32)
    assert takes(load(limit=20, next_at=NOW - 2 * SECOND)) == pytest.approx(30)


@pytest.mark.parametrize(
    "one",
    [load(stopped_at=NOW, stop_reason="HTTP 401"), load()._replace(rule=BudgetRule("kyc", credits=599))],
)
def test_what_cannot_finish_says_so_and_has_no_time(one):
    found = forecast([load("email", 600, limit=1), one], now=NOW)
    assert (found.finishes_at, found.limited_by[:4]) == (None, "kyc ")


def test_nothing_left_is_no_forecast():
    assert forecast([load(left=0, stopped_at=NOW)], now=NOW).limited_by is None


def test_accounts_that_share_a_budget_are_several():
    both = Load("kyc and kyc-lt", 3, BudgetRule("kyc", (), 50, credits=2), BudgetState(), several=True)
    assert forecast([both], now=NOW).limited_by == "kyc and kyc-lt have 2 credits left for 3 calls"
    stopped = both._replace(state=BudgetState(stopped_at=NOW, stop_reason="HTTP 401"))
    assert forecast([stopped], now=NOW).limited_by == "kyc and kyc-lt are stopped: HTTP 401"


def test_a_forecast_by_caps_says_the_day_of_the_last_call():
    assert last_day((CreditCap(2000, "day"),), UsedCredits(), 5000, now=SATURDAY) == (date(2026, 11, 30), 1000)
    # 2 on Saturday, 1 on Sunday; from Monday 2 a day and at most 3 a week
    caps = (CreditCap(2, "day"), CreditCap(3, "week"))
    assert last_day(caps, UsedCredits(), 6, now=SATURDAY) == (date(2026, 12, 1), 1)
    assert last_day((CreditCap(1, "month"),), UsedCredits(), 1000, now=SATURDAY) is None


def test_a_load_that_takes_more_than_ten_years_outranks_every_other_end():
    capped = load(left=1000, limit=1)
    capped = capped._replace(rule=replace(capped.rule, credits_by=(CreditCap(1, "month"),)))
    for loads in ([capped, load("email", limit=1)], [load("email", limit=1), capped]):
        assert forecast(loads, now=NOW).finishes_at is None
        assert "1 credit a month" in forecast(loads, now=NOW).limited_by
