"""Pauses of an account: how long they are, what ends them, and the one call that goes first."""

from dataclasses import replace
from itertools import product

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.budgets import after_claim, mark_verified
from onboarding_worker.core.rules.call_outcomes import STOPS, CallOutcome
from tests.core.rules.call_outcomes import (
    MINUTE,
    NOW,
    RULE,
    SECOND,
    UNREACHABLE,
    WELL,
    call_outcome,
    granted,
    rate_limited,
    with_outcomes,
)


def test_a_pause_is_as_long_as_retry_after_else_the_backoff(subtests):
    for wait, pause in [(3 * SECOND, 3 * SECOND), (0 * SECOND, 0 * SECOND), (None, RULE.retry.ceiling(1))]:
        with subtests.test(wait=wait):
            assert with_outcomes(WELL, rate_limited(wait)).blocked_until == NOW + pause


def test_a_429_with_a_time_pauses_until_then():
    state = with_outcomes(WELL, rate_limited(30 * SECOND))
    assert (state.blocked_until, state.pause_reason) == (NOW + 30 * SECOND, "HTTP 429")
    assert granted(state).slots.count == 0
    assert granted(state).again_at == NOW + 30 * SECOND
    succeeded = with_outcomes(state, CallOutcome(NOW))
    assert succeeded.blocked_until == state.blocked_until
    assert (state.why_paused, succeeded.why_paused) == ("HTTP 429", "the wait that was asked for is not over")


def test_a_429_without_a_time_pauses_for_the_first_wait():
    assert with_outcomes(WELL, rate_limited()).blocked_until == NOW + SECOND


def test_each_further_pause_is_twice_as_long_up_to_the_longest():
    state, now, waits = WELL, NOW, []
    for _ in range(6):
        state = with_outcomes(state, rate_limited(began_at=now), now=now)
        waits.append((state.blocked_until - now).total_seconds())
        now = state.blocked_until
    assert waits == [1, 2, 4, 8, 10, 10]


def test_after_a_success_pauses_begin_anew():
    state = with_outcomes(WELL, rate_limited())
    later = state.blocked_until
    state = with_outcomes(state, rate_limited(began_at=later), now=later)
    later = state.blocked_until
    state = with_outcomes(state, CallOutcome(later), now=later)
    assert (state.pauses, state.pause_reason) == (0, "")
    assert with_outcomes(state, rate_limited(began_at=later), now=later).blocked_until == later + SECOND


def test_calls_that_began_before_the_pause_do_not_make_it_longer():
    began = NOW - SECOND
    state = with_outcomes(WELL, rate_limited(began_at=began))
    again = with_outcomes(state, *[rate_limited(began_at=began)] * 50, now=NOW + SECOND / 2)
    assert replace(again, pace=state.pace) == state


def test_fifty_answers_of_one_moment_are_one_pause():
    state = with_outcomes(WELL, *[rate_limited(began_at=NOW - SECOND)] * 50)
    assert (state.pauses, state.blocked_until) == (1, NOW + SECOND)


def test_a_late_answer_that_names_a_later_time_is_kept_to():
    state = with_outcomes(WELL, rate_limited(2 * SECOND, began_at=NOW - SECOND))
    state = with_outcomes(state, rate_limited(30 * SECOND, began_at=NOW - SECOND))
    assert (state.blocked_until, state.pauses) == (NOW + 30 * SECOND, 1)


def test_a_late_answer_never_shortens_a_pause():
    state = with_outcomes(WELL, rate_limited(30 * SECOND, began_at=NOW - SECOND))
    assert with_outcomes(state, rate_limited(SECOND, began_at=NOW - SECOND)).blocked_until == NOW + 30 * SECOND


def test_a_success_that_began_before_the_pause_says_nothing_about_it():
    state = with_outcomes(WELL, rate_limited())
    after = with_outcomes(state, CallOutcome(NOW - SECOND), now=NOW + SECOND)
    assert replace(after, pace=state.pace) == state


def test_after_a_pause_one_call_goes_first_and_the_others_wait_for_it():
    state = with_outcomes(WELL, rate_limited())
    later = state.blocked_until
    first = granted(state, now=later)
    assert (first.slots.count, first.probe) == (1, True)
    state = after_claim(state, RULE, first, 1, now=later, probe_for=MINUTE)
    second = granted(state, now=later)
    assert second.slots.count == 0
    assert later < second.again_at <= later + MINUTE
    # it succeeded: all calls go on
    assert granted(with_outcomes(state, CallOutcome(later), now=later), now=later).slots.count == 10


def test_where_no_row_was_found_for_the_first_call_another_worker_may_make_it():
    state = with_outcomes(WELL, rate_limited())
    later = state.blocked_until
    assert after_claim(state, RULE, granted(state, now=later), 0, now=later, probe_for=MINUTE) == state


def test_a_first_call_that_never_comes_back_is_waited_for_no_longer_than_a_lease():
    state = replace(WELL, pauses=1, probe_until=NOW + MINUTE)
    assert granted(state, now=NOW + MINUTE).slots.count == 1


@pytest.mark.parametrize("kind", [Kind.BAD_INPUT, Kind.CONFLICT])
def test_an_account_that_refuses_a_row_answers_so_its_pause_is_over(kind):
    state = replace(WELL, pauses=2, probe_until=NOW + MINUTE, paused_at=NOW - MINUTE)
    after = with_outcomes(state, call_outcome(NOW, kind, "HTTP 400"))
    assert (after.pauses, after.probe_until) == (0, None)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNKNOWN])
def test_a_first_call_that_fails_otherwise_lets_the_next_one_try(kind):
    state = replace(WELL, pauses=2, probe_until=NOW + MINUTE, paused_at=NOW - MINUTE)
    after = with_outcomes(state, call_outcome(NOW, kind, "HTTP 500"))
    assert (after.pauses, after.probe_until) == (2, None)


def test_an_account_that_cannot_be_reached_is_paused_like_a_rate_limited_one():
    unreachable = call_outcome(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)
    state = with_outcomes(WELL, unreachable)
    assert (state.blocked_until, state.pauses, state.pause_reason) == (NOW + SECOND, 1, "connection refused")


LESSONS = [call_outcome(NOW, kind, "") for kind in Kind] + [CallOutcome(NOW), UNREACHABLE]


def test_a_sender_is_proven_by_any_answer_but_a_refusal_of_us(subtests):
    for outcome, before in product(LESSONS, [False, True]):
        with subtests.test(case=str(outcome.problem), before=before):
            after = with_outcomes(replace(WELL, unproven=before), outcome)
            assert after.unproven is (outcome == UNREACHABLE or outcome.kind in STOPS)


def test_an_answer_from_before_the_pause_proves_nothing():
    state = with_outcomes(WELL, UNREACHABLE)
    assert with_outcomes(state, CallOutcome(NOW - SECOND)).unproven


def test_a_log_in_ends_the_pause_and_the_stop_of_a_sender_that_refused_one():
    assert mark_verified(with_outcomes(WELL, UNREACHABLE)) == replace(WELL, paused_at=NOW)
    assert mark_verified(with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "SMTP 535"))) == WELL
    assert mark_verified(with_outcomes(WELL, call_outcome(NOW, Kind.OUT_OF_CREDIT, "HTTP 402"))).stopped_at == NOW
    limited = with_outcomes(WELL, call_outcome(NOW, Kind.RATE_LIMITED, "HTTP 429"))
    assert mark_verified(limited) == limited  # a log-in says nothing of the rate
