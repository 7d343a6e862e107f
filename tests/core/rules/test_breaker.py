"""The breaker of an account: which failures open it, and which answers close it."""

from dataclasses import replace

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.reporting.waits import outage_of
from tests.core.rules.call_outcomes import (
    NOW,
    RULE,
    SECOND,
    UNREACHABLE,
    WELL,
    call_outcome,
    failing,
    granted,
    with_outcomes,
)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNKNOWN])
def test_five_failures_in_a_row_open_the_breaker_with_the_reason(kind):
    state = with_outcomes(WELL, *failing(*[kind] * 4))
    assert (state.failures, state.opened_at, granted(state).slots.count) == (4, None, 10)
    state = with_outcomes(state, *failing(kind, began_at=NOW + SECOND), now=NOW + SECOND)
    assert state.opened_at == NOW + SECOND
    assert state.pause_reason == "5 calls in a row failed, the last with HTTP 500"
    assert (granted(state).slots.count, state.blocked_until) == (0, NOW + 2 * SECOND)


def test_an_answer_in_between_keeps_the_breaker_closed():
    state = with_outcomes(WELL, *failing(*[Kind.TRANSIENT] * 4, None, *[Kind.TRANSIENT] * 4))
    assert (state.failures, state.opened_at, state.blocked_until) == (4, None, None)


def test_failures_here_and_there_never_open_it():
    state, opened = WELL, 0
    for chunk in range(200):
        kinds = [Kind.TRANSIENT if (chunk * 10 + index) % 97 == 0 else None for index in range(10)]
        state = with_outcomes(state, *failing(*kinds, began_at=NOW + chunk * SECOND), now=NOW + chunk * SECOND)
        opened += state.opened_at is not None
    assert opened == 0


def test_behind_an_open_breaker_one_call_goes_first_and_each_that_fails_doubles_the_wait():
    state, now, waits = with_outcomes(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND), NOW + SECOND, []
    for _ in range(4):
        waits.append((state.blocked_until - now).total_seconds())
        now = state.blocked_until
        first = granted(state, now=now)
        assert (first.slots.count, first.probe) == (1, True)
        state = with_outcomes(state, *failing(Kind.TRANSIENT, began_at=now), now=now)
    assert waits == [1, 2, 4, 8]
    assert state.opened_at == NOW + SECOND
    assert "9 calls in a row failed" in state.pause_reason


@pytest.mark.parametrize("kind", [None, Kind.BAD_INPUT, Kind.CONFLICT])
def test_an_answer_closes_the_breaker(kind):
    state = with_outcomes(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND)
    later = state.blocked_until
    state = with_outcomes(state, call_outcome(later, kind), now=later)
    assert (state.failures, state.opened_at, state.pauses, state.pause_reason) == (0, None, 0, "")
    assert granted(state, now=later).slots.count == 10


def test_calls_in_flight_when_the_breaker_opened_neither_close_nor_extend_it():
    state = with_outcomes(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND)
    assert with_outcomes(state, CallOutcome(NOW), *failing(*[Kind.TRANSIENT] * 30), now=NOW + SECOND) == state


def test_an_unreachable_account_is_paused_at_once_and_its_breaker_opens_after_five():
    unreachable = call_outcome(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)
    state, now = with_outcomes(WELL, unreachable), NOW
    assert (state.failures, state.opened_at) == (1, None)
    for _ in range(4):
        now = state.blocked_until
        state = with_outcomes(state, unreachable._replace(began_at=now), now=now)
    assert (state.failures, state.opened_at) == (5, now)
    assert state.pause_reason == "5 calls in a row failed, the last with connection refused"


def test_the_breaker_of_a_sender_never_opens_because_of_messages_that_fail():
    rule = replace(RULE, opens_after=None)
    state = after_outcomes(WELL, rule, failing(*[Kind.TRANSIENT] * 50), now=NOW + SECOND)
    assert (state.opened_at, state.blocked_until) == (None, None)


@pytest.mark.parametrize("kind", [None, Kind.TRANSIENT, Kind.BAD_INPUT, Kind.RATE_LIMITED])
def test_the_breaker_of_a_sender_is_open_from_its_first_silence_to_its_next_answer(kind):
    rule, now = replace(RULE, opens_after=None), NOW
    state = WELL
    for _ in range(3):
        state = after_outcomes(state, rule, [UNREACHABLE._replace(began_at=now)], now=now)
        assert outage_of(state, now=now) == "no call has succeeded since 2026-11-20T12:00:00Z: connection refused"
        assert outage_of(state, now=state.blocked_until) == ""
        now = state.blocked_until
    assert state.opened_at == NOW
    answered = after_outcomes(state, rule, [call_outcome(now, kind, "an answer")], now=now)
    assert (answered.opened_at, outage_of(answered, now=now, due=True)) == (None, "")
