"""What one call shows of its account, by its kind and by whether it began before a pause: all of the state."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.budgets import ASK_AGAIN_AFTER
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes, repeating
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.rate_adaptation import Pace
from tests.core.rules.call_outcomes import (
    LIMITED,
    MINUTE,
    NOW,
    RULE,
    SECOND,
    UNREACHABLE,
    WELL,
    call_outcome,
    failing,
    rate_limited,
    with_outcomes,
)

TICK = timedelta(microseconds=1)
LATER = NOW + SECOND
PAUSED = replace(
    WELL,
    failures=2,
    opened_at=NOW - MINUTE,
    pauses=2,
    paused_at=NOW,
    probe_until=NOW + MINUTE,
    pause_reason="HTTP 429",
    unproven=True,
)
ANSWERED = {"failures": 0, "opened_at": None, "unproven": False, "probe_until": None}
WELL_AGAIN = {**ANSWERED, "pauses": 0, "pause_reason": ""}
FAILED = {"failures": 3, "unproven": False, "probe_until": None}
STOPPED = {**ANSWERED, "unproven": True, "stopped_at": LATER, "stop_reason": "why"}
ASKS = {"asks_again_at": LATER + ASK_AGAIN_AFTER}
WAITS = {"pauses": 3, "paused_at": LATER, "probe_until": None, "pause_reason": "why", "blocked_until": NOW + 5 * SECOND}
ASKED_TO_WAIT = {"blocked_until": LATER + MINUTE, "pause_reason": "why", "probe_until": None}


def shown(before, kind, began_at, rule=RULE, **problem):
    outcome = call_outcome(began_at, kind, "why", problem.pop("after", None), **problem)
    after = after_outcomes(before, rule, [outcome], now=LATER)
    return replace(after, pace=before.pace)


@pytest.mark.parametrize(
    ("kind", "problem", "changes"),
    [
        (None, {}, WELL_AGAIN),
        (Kind.BAD_INPUT, {}, WELL_AGAIN),
        (Kind.CONFLICT, {}, WELL_AGAIN),
        (Kind.UNCLEAR, {}, ANSWERED),
        (Kind.TRANSIENT, {}, FAILED),
        (Kind.UNKNOWN, {}, FAILED),
        (Kind.TRANSIENT, {"unreachable": True}, {**FAILED, "unproven": True, **WAITS}),
        (Kind.BAD_INPUT, {"unreachable": True}, {**FAILED, "unproven": True, **WAITS}),
        (Kind.RATE_LIMITED, {}, {**ANSWERED, **WAITS}),
        (Kind.RATE_LIMITED, {"after": MINUTE}, {**ANSWERED, **WAITS, **ASKED_TO_WAIT}),
        (Kind.AUTH, {}, {**STOPPED, **ASKS}),
        (Kind.AUTH, {"unclear": True}, {**STOPPED, **ASKS, "unproven": False}),
        (Kind.OUT_OF_CREDIT, {}, STOPPED),
        (Kind.SHORT_LIVED, {}, STOPPED),
    ],
)
def test_what_a_call_shows_that_began_as_the_pause_did(kind, problem, changes):
    assert shown(PAUSED, kind, NOW, **problem) == replace(PAUSED, **changes)


STOPPED_TOO = {name: STOPPED[name] for name in ("unproven", "probe_until", "stopped_at", "stop_reason")}


@pytest.mark.parametrize(
    ("kind", "problem", "changes"),
    [
        *((kind, {}, {}) for kind in (None, Kind.BAD_INPUT, Kind.CONFLICT, Kind.UNCLEAR, Kind.TRANSIENT, Kind.UNKNOWN)),
        (Kind.TRANSIENT, {"unreachable": True}, {}),
        (Kind.RATE_LIMITED, {}, {}),
        (Kind.RATE_LIMITED, {"after": MINUTE}, ASKED_TO_WAIT),
        (Kind.AUTH, {}, {**STOPPED_TOO, **ASKS}),
        (Kind.OUT_OF_CREDIT, {}, STOPPED_TOO),
        (Kind.SHORT_LIVED, {}, STOPPED_TOO),
    ],
)
def test_what_a_call_shows_that_began_before_the_pause(kind, problem, changes):
    before = replace(PAUSED, unproven=False)
    assert shown(before, kind, NOW - TICK, **problem) == replace(before, **changes)


def test_the_failure_that_opens_the_breaker_waits_by_its_own_count_of_pauses_whatever_it_asks_for():
    before = replace(PAUSED, failures=4, opened_at=None)
    opened = {"failures": 5, "opened_at": LATER, "unproven": False}
    why = {"pause_reason": "5 calls in a row failed, the last with why"}
    for began_at, changes in [(NOW, {**WAITS, **opened, **why}), (NOW - TICK, {})]:
        assert shown(before, Kind.TRANSIENT, began_at, after=MINUTE) == replace(before, **changes)
    still = replace(before, failures=7, opened_at=NOW)
    assert shown(still, Kind.TRANSIENT, NOW).opened_at == NOW
    assert shown(replace(before, failures=7), Kind.RATE_LIMITED, NOW).opened_at is None


def test_a_call_of_a_sender_from_before_the_pause_neither_opens_nor_closes_its_breaker():
    sender = replace(RULE, opens_after=None)
    for opened_at in (None, NOW - MINUTE):
        before = replace(PAUSED, opened_at=opened_at)
        assert shown(before, Kind.TRANSIENT, NOW - TICK, sender, unreachable=True) == before
        assert shown(before, Kind.BAD_INPUT, NOW - TICK, sender) == before


def test_a_stop_that_asks_again_is_ended_by_a_call_that_began_after_it_alone():
    before = replace(WELL, stopped_at=NOW, stop_reason="HTTP 401", asks_again_at=NOW)
    assert shown(before, None, NOW) == before
    assert shown(before, None, NOW + TICK) == WELL
    held = replace(before, asks_again_at=None, pauses=1)
    assert shown(held, None, NOW + TICK) == replace(held, pauses=0)


def test_outcomes_are_taken_in_the_order_of_their_calls():
    failed = failing(*[Kind.TRANSIENT] * 3)
    assert with_outcomes(WELL, CallOutcome(NOW - SECOND), *reversed(failed)).failures == 3
    assert with_outcomes(WELL, CallOutcome(NOW + SECOND), *failed).failures == 0


@pytest.mark.parametrize(
    ("rule", "before", "kinds", "counts"),
    [
        (LIMITED, Pace(counted_at=NOW), [Kind.RATE_LIMITED, None, Kind.TRANSIENT], (0, 1)),
        (LIMITED, Pace(granted=9, refused=3, counted_at=NOW), [None, Kind.BAD_INPUT], (9, 3)),
        (LIMITED, Pace(granted=9, refused=3, counted_at=NOW), [Kind.RATE_LIMITED] * 2, (9, 5)),
        (RULE, Pace(), [None, Kind.TRANSIENT], (0, 0)),
        (RULE, Pace(), [None, Kind.RATE_LIMITED, None], (3, 1)),
        (RULE, Pace(granted=9, refused=3, counted_at=NOW), [None, Kind.TRANSIENT], (11, 3)),
        (RULE, Pace(rate=5.0, granted=9, refused=3, counted_at=NOW), [None, None], (9, 3)),
        (RULE, Pace(rate=5.0, granted=9, refused=3, counted_at=NOW), [None, Kind.RATE_LIMITED], (9, 4)),
        (RULE, Pace(granted=9, refused=3, lowered_at=NOW), [None, None, Kind.RATE_LIMITED], (12, 4)),
        (RULE, Pace(granted=9, refused=3, lowered_at=NOW + TICK), [None, None, Kind.RATE_LIMITED], (9, 3)),
    ],
)
def test_of_which_calls_the_rate_is_judged(rule, before, kinds, counts):
    """Claims count the calls of an account with a limit. What began before the rate was lowered says nothing."""
    outcomes = [call_outcome(NOW, kind, "") for kind in kinds]
    pace = after_outcomes(replace(WELL, pace=before), rule, outcomes, now=NOW).pace
    assert (pace.granted, pace.refused) == counts


@pytest.mark.parametrize(("rule", "rate"), [(LIMITED, None), (RULE, 5.0)])
def test_where_claims_count_the_calls_a_success_changes_no_count(rule, rate):
    before = replace(WELL, pauses=1, pace=Pace(rate=rate, granted=9, refused=3, counted_at=NOW - MINUTE))
    assert after_outcomes(before, rule, [CallOutcome(NOW)], now=NOW) == replace(before, pauses=0)


BURSTS = replace(RULE, limits=(Limit.parse("3600/hour"),), ahead=2 * MINUTE)
AHEAD = replace(WELL, next_at=NOW, even_at=NOW + MINUTE, ahead_at=NOW - MINUTE)


@pytest.mark.parametrize(
    ("before", "kinds", "counted"),
    [
        (AHEAD, [None, Kind.RATE_LIMITED], False),
        (AHEAD, [None, Kind.TRANSIENT], None),
        (replace(AHEAD, even_at=NOW + 2 * BURSTS.burst.even + TICK), [Kind.RATE_LIMITED], False),
        (replace(AHEAD, even_at=NOW + 2 * BURSTS.burst.even), [Kind.RATE_LIMITED], True),
        (replace(AHEAD, ahead_at=NOW - BURSTS.burst.slow - TICK), [Kind.RATE_LIMITED], False),
        (replace(AHEAD, ahead_at=NOW - BURSTS.burst.slow), [Kind.RATE_LIMITED], True),
    ],
)
def test_a_refusal_while_calls_go_ahead_says_nothing_about_the_even_pace(before, kinds, counted):
    outcomes = [call_outcome(NOW - TICK, kind, "") for kind in kinds]
    pace = after_outcomes(before, BURSTS, outcomes, now=NOW).pace
    assert (pace.lowered_at, pace.refused) == (NOW if counted is False else None, int(counted is True))


@pytest.mark.parametrize(
    ("known", "ahead_at"),
    [
        ({}, NOW + MINUTE),
        ({"next_at": NOW + 2 * MINUTE}, NOW + 2 * MINUTE),
        ({"next_at": NOW + 3 * MINUTE, "ahead_at": NOW + 2 * MINUTE}, NOW + 2 * MINUTE),
        ({"next_at": NOW + 3 * MINUTE, "ahead_at": NOW}, NOW + MINUTE),
    ],
)
def test_after_a_pause_nothing_goes_ahead_of_what_is_reserved(known, ahead_at):
    before = replace(WELL, **known)
    assert after_outcomes(before, BURSTS, [rate_limited(MINUTE)], now=NOW).ahead_at == ahead_at
    assert after_outcomes(before, RULE, [rate_limited(MINUTE)], now=NOW).ahead_at is None


def test_repeated_answers_stop_the_account_until_a_person_acts():
    stopped = repeating(replace(PAUSED, asks_again_at=NOW), 3, now=NOW)
    assert (stopped.stopped_at, stopped.asks_again_at, stopped.probe_until) == (NOW, None, None)
    assert repeating(stopped, 4, now=LATER) == stopped
    refused = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "HTTP 401"))
    instead = repeating(refused, 3, now=LATER)
    assert (instead.stopped_at, instead.stop_reason, instead.asks_again_at) == (NOW, stopped.stop_reason, None)


def test_a_silence_is_the_first_of_a_sender_only_once():
    sender = replace(RULE, opens_after=None)
    silent = after_outcomes(WELL, sender, [UNREACHABLE], now=NOW)
    again = after_outcomes(silent, sender, [UNREACHABLE._replace(began_at=LATER)], now=LATER)
    assert (silent.opened_at, again.opened_at, again.pauses) == (NOW, NOW, 2)
