"""How a step ends: for each kind of problem, whether it may be repeated, and how often it has been tried."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.endings import (
    Cancel,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
    ending_for,
    row_due_after_pause,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
POLICY = RetryPolicy(attempts=4, first=timedelta(seconds=1), most=timedelta(seconds=10))
WAITS = (Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.SHORT_LIVED)


def ending(kind, *, attempt=1, repeatable=False, jitter=0.5, policy=POLICY, at=None, **fields):
    problem = Problem(kind, "HTTP 500", **fields)
    return ending_for(
        problem,
        attempt=attempt,
        repeatable=repeatable,
        policy=policy,
        resume_at=LATER,
        now=NOW,
        jitter=jitter,
        reconcile_at=at,
    )


def test_a_rate_limited_call_is_a_snooze_however_often_it_happens():
    assert [
        (kind, repeatable, attempt, got)
        for kind, repeatable, attempt in product((*WAITS, Kind.UNCLEAR), [False, True], [1, 4, 1000])
        if (got := ending(kind, attempt=attempt, repeatable=repeatable)) != Snooze(LATER, kind.value, "HTTP 500")
    ] == []


def test_an_account_that_cannot_be_reached_is_waited_for_however_long(subtests):
    for kind, attempt in product([Kind.TRANSIENT, Kind.UNKNOWN], [1, 4, 1000]):
        with subtests.test(kind=kind, attempt=attempt):
            unreachable = Problem(kind, "connection refused", unreachable=True)
            how = {"repeatable": False, "policy": POLICY, "resume_at": LATER, "now": NOW, "jitter": 0.5}
            assert ending_for(unreachable, attempt=attempt, **how) == Snooze(LATER, "unreachable", "connection refused")


def test_a_row_that_waits_for_its_account_is_due_at_once_unless_others_go_first(subtests):
    for problem, due_at in [
        (Problem(Kind.AUTH, "HTTP 401"), NOW),
        (Problem(Kind.AUTH, "HTTP 401", retry_after=timedelta(minutes=5)), NOW),
        (Problem(Kind.AUTH, "HTTP 403", unclear=True), NOW + POLICY.first),
        (Problem(Kind.RATE_LIMITED, "HTTP 429"), NOW + POLICY.first),
        (Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=timedelta(minutes=5)), LATER),
        (Problem(Kind.TRANSIENT, "connection refused", unreachable=True), NOW + POLICY.first),
    ]:
        with subtests.test(problem=problem):
            assert row_due_after_pause(problem, POLICY, NOW) == due_at


def test_a_refused_row_is_cancelled_at_once():
    assert [
        (repeatable, attempt, got)
        for repeatable, attempt in product([False, True], [1, 4])
        if (got := ending(Kind.BAD_INPUT, attempt=attempt, repeatable=repeatable)) != Cancel("bad_input", "HTTP 500")
    ] == []


def test_a_session_that_lives_elsewhere_is_held():
    assert [
        (repeatable, attempt, got)
        for repeatable, attempt in product([False, True], [1, 4])
        if (got := ending(Kind.CONFLICT, attempt=attempt, repeatable=repeatable)) != Hold("conflict", "HTTP 500")
    ] == []


@pytest.mark.parametrize("attempt", [1, 4, 1000])
def test_an_unknown_outcome_is_held_where_repeating_costs(attempt):
    assert ending(Kind.UNKNOWN, attempt=attempt) == Hold("unknown", "HTTP 500")


@pytest.mark.parametrize("attempt", [1, 4, 1000])
def test_an_unknown_outcome_is_reconciled_where_that_is_possible_and_not_before_its_time(attempt):
    reconciled = ending(Kind.UNKNOWN, attempt=attempt, at=LATER)
    assert (type(reconciled), reconciled.at, reconciled.reason) == (Reconcile, LATER, "unknown")
    assert "12:05:00 UTC" in reconciled.detail
    assert not isinstance(ending(Kind.UNKNOWN, repeatable=True, at=LATER), Reconcile)


def test_a_time_that_is_not_today_is_named_with_its_day():
    assert "from 2026-" in ending(Kind.UNKNOWN, at=NOW + timedelta(days=1)).detail
    assert "from 2026-" not in ending(Kind.UNKNOWN, at=NOW + timedelta(hours=23)).detail


def test_a_conflict_is_reconciled_at_once_since_its_call_cannot_be_carried_out_late():
    assert ending(Kind.CONFLICT, at=LATER) == Reconcile(NOW, "conflict", "HTTP 500")


def test_a_known_outcome_is_not_reconciled():
    assert [
        (kind, got)
        for kind in sorted(set(Kind) - {Kind.UNKNOWN, Kind.CONFLICT})
        if (got := ending(kind, at=LATER)) != ending(kind)
    ] == []


@pytest.mark.parametrize(
    ("kind", "repeatable"), [(Kind.TRANSIENT, False), (Kind.TRANSIENT, True), (Kind.UNKNOWN, True)]
)
def test_a_failure_that_may_be_repeated_is_tried_until_the_attempts_are_spent(kind, repeatable):
    for attempt in (1, 2, 3):
        assert isinstance(ending(kind, attempt=attempt, repeatable=repeatable), Retry)
    spent = ending(kind, attempt=4, repeatable=repeatable)
    assert spent == Cancel("attempts_spent", "4 attempts failed, the last with: HTTP 500")


def test_problems_of_the_account_differ_from_problems_of_the_row():
    assert {kind for kind in Kind if Problem(kind, "").concerns_account} == set(WAITS)
    assert all(Problem(kind, "", unreachable=True).concerns_account for kind in Kind)


def test_every_kind_has_an_ending():
    for kind in Kind:
        for repeatable in (False, True):
            assert ending(kind, repeatable=repeatable) is not None


def test_a_failure_that_names_a_time_is_tried_again_then():
    named = ending(Kind.TRANSIENT, retry_after=timedelta(seconds=42), jitter=0.0)
    assert named == Retry(NOW + timedelta(seconds=42), "transient", "HTTP 500")


@given(st.integers(1, 3), st.floats(0, 1, exclude_max=True))
def test_the_backoff_is_spread_over_the_whole_wait_and_never_beyond(attempt, jitter):
    retry = ending(Kind.TRANSIENT, attempt=attempt, jitter=jitter)
    assert NOW <= retry.at <= NOW + POLICY.ceiling(attempt)


def test_a_problem_that_may_cost_bounds_its_own_retries():
    assert isinstance(ending(Kind.TRANSIENT, attempt=1, most_attempts=2), Retry)
    assert ending(Kind.TRANSIENT, attempt=2, most_attempts=2).reason == "attempts_spent"
    assert isinstance(ending(Kind.TRANSIENT, attempt=POLICY.attempts, most_attempts=99), Cancel)


def test_full_jitter_reaches_both_ends():
    assert ending(Kind.TRANSIENT, attempt=3, jitter=0.0).at == NOW
    assert ending(Kind.TRANSIENT, attempt=3, jitter=0.999).at > NOW + timedelta(seconds=3.9)


def test_the_ceiling_doubles_from_the_first_wait_to_the_longest():
    seconds = [POLICY.ceiling(tries).total_seconds() for tries in range(7)]
    assert seconds == [1, 1, 2, 4, 8, 10, 10]


@given(st.integers(-5, 10**9), st.integers(1, 10**6), st.integers(1, 86400))
def test_the_ceiling_is_capped_after_any_number_of_tries(tries, first, most):
    policy = RetryPolicy(first=timedelta(milliseconds=first), most=timedelta(seconds=most))
    assert timedelta(0) < policy.ceiling(tries) <= policy.most


def test_the_defaults_are_the_documented_ones():
    assert RetryPolicy() == RetryPolicy(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=10))
