"""When a batch ends: by its limits and the measured pace, and only roughly where neither is known; with nights in which
nothing is sent, and so many texts to one country in an hour. And what a run says that its batch waits for."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.limits import CreditCap, Limit, UsedCredits
from onboarding_worker.core.rules.quiet_hours import QuietHours, allowed_at
from onboarding_worker.core.rules.rate_adaptation import Pace
from onboarding_worker.core.rules.throughput import FRESH, MeasuredThroughput
from onboarding_worker.reporting.forecast import (
    Forecast,
    Load,
    by_country,
    forecast,
    last_day,
    of_rest,
    through_nights,
    with_country_cap,
)
from onboarding_worker.reporting.store.outlook import Orphans, UnknownOutcomes
from onboarding_worker.reporting.waits import Wait, of_account

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 28, 23, 59, 30, tzinfo=UTC)
MORNING = datetime(2026, 11, 20, 9, 40, tzinfo=UTC)
NEXT_WEEK = NOW + timedelta(days=7)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
BY_TEN = Forecast(MORNING + timedelta(minutes=20), "sms: the limit of 100/second")
awake = partial(allowed_at, ("UTC",), QuietHours.parse("21:00-08:00"))
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
    "one", [load(stopped_at=NOW, stop_reason="HTTP 401"), load()._replace(rule=BudgetRule("kyc", credits=599))]
)
def test_what_cannot_finish_says_so_and_has_no_time(one):
    found = forecast([load("email", 600, limit=1), one], now=NOW)
    assert (found.finishes_at, found.limited_by[:4]) == (None, "kyc ")


def test_nothing_left_is_no_forecast():
    assert forecast([load(left=0, stopped_at=NOW)], now=NOW).limited_by is None


def test_accounts_that_share_a_budget_are_several():
    both = Load("kyc and kyc-lt", 3, BudgetRule("kyc", (), 50, credits=2), BudgetState(), several=True)
    assert forecast([both], now=NOW).limited_by == "kyc and kyc-lt have 2 credits left for 3 calls"
    after = both._replace(left=1, ahead=2)
    said = "kyc and kyc-lt have 2 credits left for 3 calls; 2 of other batches go first"
    assert forecast([after], now=NOW) == Forecast(None, said)
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


def test_the_country_with_the_most_texts_decides():
    ends = with_country_cap(BY_TEN, 1000, {"LT": 2500, "LV": 900}, sent={"LT": 1000, "LV": 950}, now=MORNING)

    assert ends == Forecast(MORNING.replace(hour=12, minute=0), "[sms] per_country: 1,000 texts an hour to LT")


def test_texts_to_a_country_that_is_not_known_make_it_rough():
    ends = with_country_cap(BY_TEN, 1000, by_country(5000, {}), sent={}, now=MORNING)

    assert (ends.finishes_at, ends.assumed) == (MORNING.replace(hour=13, minute=0), True)
    assert ends.limited_by == "[sms] per_country: 1,000 texts an hour to one country, if all go to one"


def test_what_has_room_or_no_cap_or_needs_a_person_stays():
    stopped = Forecast(None, "sms is stopped: bad credentials")

    assert with_country_cap(BY_TEN, 1000, {"LT": 900}, sent={"LT": 100}, now=MORNING) is BY_TEN
    assert with_country_cap(stopped, 1000, {"LT": 9000}, sent={}, now=MORNING) is stopped


def test_texts_go_where_they_went_lately():
    assert by_country(1000, {"LT": 30, "LV": 10}) == {"LT": 750, "LV": 250}
    assert by_country(10, {"LT": 3, "LV": 3, "EE": 3}) == {"LT": 4, "LV": 4, "EE": 4}


def test_work_that_is_not_done_before_the_night_is_done_after_it():
    assert through_nights(2 * HOUR, awake, now=NOW) == NOW + 2 * HOUR
    assert through_nights(10 * HOUR, awake, now=NOW) == NOW + 21 * HOUR
    assert through_nights(23 * HOUR, awake, now=NOW) == NOW + 45 * HOUR  # nine, thirteen, and one on the third day
    assert through_nights(timedelta(minutes=1), awake, now=NOW + 10 * HOUR) == NOW + 20 * HOUR + HOUR / 60


def test_a_forecast_of_endless_work_stops_after_a_year_of_work():
    assert through_nights(timedelta(days=9999), awake, now=NOW) > NOW + timedelta(days=366)


@pytest.mark.parametrize(
    ("reconcile_at", "looked_at", "words"),
    [
        (NOW, NEXT_WEEK, "2 calls whose answer was lost, the first to be reconciled then"),
        (NEXT_WEEK, NOW, "3 sessions whose token was lost, the first to be looked at then"),
        (NEXT_WEEK, NEXT_WEEK, ""),
    ],
)
def test_of_lost_answers_and_lost_tokens_it_names_what_is_due_then(
    reconcile_at: datetime, looked_at: datetime, words: str
):
    outcomes = UnknownOutcomes({"kyb": 2}, 0, reconcile_at, {"kyc": Orphans(3, None, looked_at)})
    assert of_rest(NOW, (), lambda: outcomes) == Wait(detail=words, until=NOW)


def test_a_pause_and_a_limit_that_last_until_then_are_named_before_anything_is_read(subtests):
    rule = BudgetRule("b", limits=(Limit.parse("1/hour"),))
    cases = [
        (BudgetState(blocked_until=NOW + HOUR, pause_reason="HTTP 429"), "HTTP 429"),
        (BudgetState(next_at=NOW + HOUR), "kyc: its limit of 1/hour"),
    ]
    for state, words in cases:
        with subtests.test(state=state):
            kept = of_account("kyc", rule, state, now=NOW)
            assert of_rest(NOW + HOUR, kept, lambda: pytest.fail("it was read")).detail == words
