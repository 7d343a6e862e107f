"""Which account takes over which rows, and how many at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.rate_adaptation import Pace
from onboarding_worker.core.upkeep.takeovers import (
    CHUNK,
    LEAST,
    ROUTE_LENGTH,
    SOON,
    fallback_accounts_after,
    keeps_one,
    may_take_over,
    room,
    route_after_takeover,
    taker,
    trouble,
)
from onboarding_worker.lists.store.new_rows import FALLBACK_ACCOUNTS_LENGTH, fallbacks_text

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WELL = BudgetState()
STOPPED = BudgetState(stopped_at=NOW, stop_reason="HTTP 401")
OPEN = BudgetState(opened_at=NOW, blocked_until=NOW + SOON, failures=5)
PAUSED = BudgetState(blocked_until=NOW + timedelta(hours=1), pauses=3, pause_reason="HTTP 429")


def limited(text: str, **more) -> BudgetRule:
    return BudgetRule("b", (Limit.parse(text),), **more)


def test_a_stop_and_an_open_breaker_are_trouble_and_a_pause_is_none():
    assert [
        (what, got)
        for what, (state, words) in {
            "well": (WELL, ""),
            "stopped": (STOPPED, "is stopped"),
            "breaker open": (OPEN, "has its breaker open"),
            "rate-limited": (PAUSED, ""),
        }.items()
        if (got := trouble(state)) != words
    ] == []


def test_an_account_in_trouble_or_without_credits_takes_nothing_over():
    rule = BudgetRule("b", credits=7)
    assert may_take_over(BudgetState(credits_used=6), rule)
    assert not may_take_over(BudgetState(credits_used=7), rule)
    assert not may_take_over(STOPPED, BudgetRule("b"))
    assert not may_take_over(OPEN, BudgetRule("b"))
    assert may_take_over(PAUSED, BudgetRule("b"))


def test_the_most_preferred_working_account_takes_over_and_never_the_account_itself():
    cases = [
        ("b,c", {"b", "c"}, "b"),
        ("b,c", {"c"}, "c"),
        ("b,c", {"d"}, None),
        ("", {"b"}, None),
        ("a,b,c", {"a", "c"}, "c"),
    ]
    assert [
        (fallback_accounts, well, expected, got)
        for fallback_accounts, well, expected in cases
        if (got := taker("a", fallback_accounts, well)) != expected
    ] == []


def test_the_order_of_preference_outlives_every_takeover():
    fallback_accounts = fallback_accounts_after("a", "b,c")  # a fails, b has it
    assert (fallback_accounts, taker("b", fallback_accounts, {"a", "c"})) == ("a,b,c", "a")  # b fails, a is back
    assert (fallback_accounts_after("b", fallback_accounts), taker("b", fallback_accounts, {"c"})) == ("a,b,c", "c")
    assert taker("c", fallback_accounts, {"a", "b"}) == "a"


def test_an_account_without_limits_is_given_a_chunk_less_its_due_rows():
    assert room(WELL, BudgetRule("b"), due=0, now=NOW) == CHUNK
    assert room(WELL, BudgetRule("b"), due=CHUNK - 1, now=NOW) == 1
    assert room(WELL, BudgetRule("b"), due=CHUNK + 1, now=NOW) == 0


def test_an_account_with_limits_is_given_the_rows_that_they_allow_soon():
    assert room(WELL, limited("20/second"), due=0, now=NOW) == 201  # the first at once
    assert room(WELL, limited("20/second"), due=150, now=NOW) == 51
    reserved = BudgetState(next_at=NOW + SOON / 2)
    assert room(reserved, limited("20/second"), due=0, now=NOW) == 101


def test_an_account_whose_limit_was_found_to_be_lower_is_given_the_rows_that_it_allows():
    slower = BudgetState(pace=Pace(rate=5.0))
    assert room(slower, limited("20/second"), due=0, now=NOW) == 51
    assert room(slower, BudgetRule("b"), due=0, now=NOW) == 51


def test_a_slow_account_is_given_a_few_and_no_more_until_they_are_done():
    assert room(WELL, limited("1/minute"), due=0, now=NOW) == LEAST
    assert room(WELL, limited("1/minute"), due=LEAST, now=NOW) == 0
    assert room(BudgetState(next_at=NOW + timedelta(hours=1)), limited("1/minute"), due=0, now=NOW) == LEAST


def test_an_account_that_is_paused_for_longer_is_given_nothing_yet():
    assert room(PAUSED, BudgetRule("b"), due=0, now=NOW) == 0
    soon = BudgetState(blocked_until=NOW + SOON / 2)
    assert room(soon, limited("20/second"), due=0, now=NOW) == 101


def test_no_account_is_given_more_rows_than_it_has_credits():
    assert room(BudgetState(credits_used=5), BudgetRule("b", credits=8), due=0, now=NOW) == 3
    assert room(BudgetState(credits_used=5), BudgetRule("b", credits=8), due=2, now=NOW) == 1
    assert room(BudgetState(credits_used=5), limited("20/second", credits=8), due=3, now=NOW) == 0


def test_a_row_stays_for_the_call_that_finds_out_whether_the_account_is_back():
    assert keeps_one(OPEN, now=NOW)
    assert not keeps_one(OPEN, now=NOW - timedelta(microseconds=1))  # not to be made soon
    assert not keeps_one(STOPPED, now=NOW)
    refused = replace(STOPPED, asks_again_at=NOW + SOON)
    assert keeps_one(refused, now=NOW)
    assert not keeps_one(refused, now=NOW - timedelta(microseconds=1))
    out = BudgetState(opened_at=NOW, blocked_until=NOW, probe_until=NOW + SOON)
    assert not keeps_one(out, now=NOW)
    assert keeps_one(out, now=NOW + SOON)


def test_the_route_names_the_account_that_had_the_row_last_and_why_it_lost_the_row():
    route = route_after_takeover("route 2: country=AU", "au", "is stopped")
    assert route == "route 2: country=AU; taken over from au, which is stopped"
    again = route_after_takeover(route, "kyc-eu", "has its breaker open")
    assert again == "route 2: country=AU; taken over from kyc-eu, which has its breaker open"
    long = route_after_takeover("r" * ROUTE_LENGTH, "au", "is stopped")
    assert len(long) == ROUTE_LENGTH
    assert long.endswith("r; taken over from au, which is stopped")


def test_as_many_fallback_accounts_are_kept_as_fit_with_the_account_itself():
    assert fallbacks_text("a", ()) == ""
    assert fallbacks_text("a", ("b", "c")) == "b,c"
    names = [f"{letter * 60}" for letter in "bcdefghij"]
    kept = fallbacks_text("a" * 60, names)
    assert kept.split(",") == names[:5]
    assert (
        len(fallback_accounts_after("a" * 60, kept))
        <= FALLBACK_ACCOUNTS_LENGTH
        < len(fallback_accounts_after("a" * 60, f"{kept},{names[5]}"))
    )
