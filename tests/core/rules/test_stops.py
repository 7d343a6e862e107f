"""Stops of an account, by refused credentials and by credits, and what ends them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.budgets import (
    ASK_AGAIN_AFTER,
    BudgetState,
    after_claim,
    at_cap,
    mark_verified,
    refunded,
    resumed,
)
from onboarding_worker.core.rules.call_outcomes import STOPS, CallOutcome
from onboarding_worker.core.rules.limits import FREE, Limit, UsedCredits
from onboarding_worker.reporting.waits import stop_in_words
from tests.core.rules.call_outcomes import (
    LIMITED,
    MINUTE,
    NOW,
    RULE,
    SECOND,
    WELL,
    call_outcome,
    granted,
    rate_limited,
    with_outcomes,
)


def test_rows_without_a_credit_left_stop_the_account_once_with_the_reason():
    rule = replace(RULE, credits=3)
    state = at_cap(BudgetState(credits_used=3), rule, now=NOW)
    assert (state.stopped_at, state.stop_reason) == (NOW, "the cap of 3 credits is used up")
    assert at_cap(state, rule, now=NOW + SECOND) == state


def test_a_refund_ends_the_stop_that_the_lack_of_credits_made_and_no_other():
    rule = replace(RULE, credits=3)
    none = BudgetState(spent=UsedCredits(NOW.date()))

    def after(state, calls):
        return refunded(state, rule, {NOW.date(): calls}, now=NOW)

    assert after(at_cap(replace(none, credits_used=3), rule, now=NOW), 2) == replace(none, credits_used=1)
    refused = replace(none, credits_used=3, stopped_at=NOW, stop_reason="HTTP 401")
    assert after(refused, 2) == replace(refused, credits_used=1)
    beyond = at_cap(replace(none, credits_used=5), rule, now=NOW)
    assert after(beyond, 2) == replace(beyond, credits_used=3)
    assert after(replace(none, credits_used=1), 5).credits_used == 0


def test_bad_credentials_and_no_credit_stop_the_account_with_the_reason(subtests):
    for kind in sorted(STOPS):
        with subtests.test(kind=kind):
            state = with_outcomes(WELL, call_outcome(NOW, kind, "HTTP 401: key revoked"))
            assert (state.stopped_at, state.stop_reason) == (NOW, "HTTP 401: key revoked (the credentials are refused)")
            stopped = granted(state, now=NOW + ASK_AGAIN_AFTER - SECOND)
            assert (stopped.slots.count, stopped.again_at) == (0, None)


def test_where_the_adapter_says_what_its_code_means_the_status_says_no_more():
    detail = "HTTP 403 PERMISSIONS_ERROR: no credit left, or no right to this call"
    assert with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, detail)).stop_reason == detail


def test_without_credit_a_person_must_act():
    state = with_outcomes(WELL, call_outcome(NOW, Kind.OUT_OF_CREDIT, "HTTP 402"))
    assert granted(state, now=NOW + timedelta(days=30)).slots.count == 0
    assert stop_in_words(state) == "HTTP 402 (no credit is left)"


def asked_again(kind):
    """A stop for refused credentials, and what its one call after a while was answered with, a second later."""
    stopped = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "HTTP 401"))
    later = NOW + ASK_AGAIN_AFTER
    given = granted(stopped, now=later)
    assert (given.slots.count, given.probe) == (1, True)
    probing = after_claim(stopped, RULE, given, 1, now=later, probe_for=MINUTE)
    assert granted(probing, now=later).slots.count == 0  # one call, however many workers ask
    return with_outcomes(probing, call_outcome(later, kind, "the answer"), now=later + SECOND), later + SECOND


@pytest.mark.parametrize("kind", [None, Kind.BAD_INPUT, Kind.CONFLICT])
def test_refused_credentials_are_tried_again_with_one_call_and_an_answer_ends_the_stop(kind):
    state, now = asked_again(kind)
    assert (state.stopped_at, state.stop_reason, state.asks_again_at) == (None, "", None)
    assert granted(state, now=now).slots.count == 10


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.TRANSIENT, Kind.UNKNOWN, Kind.RATE_LIMITED])
def test_without_an_answer_the_stop_stays_and_the_next_call_is_again_minutes_later(kind):
    state, now = asked_again(kind)
    assert state.stopped_at == NOW
    assert NOW + 2 * ASK_AGAIN_AFTER <= state.asks_again_at <= now + ASK_AGAIN_AFTER
    assert granted(state, now=now).slots.count == 0
    assert granted(state, now=now + 2 * ASK_AGAIN_AFTER).slots.count == 1
    assert stop_in_words(state).endswith(f"; a running worker asks again from {written(state.asks_again_at)} on")


def test_another_refusal_read_by_a_process_whose_clock_is_slow_makes_a_stop_no_shorter():
    stopped = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "HTTP 401"), now=NOW)
    slow = NOW - MINUTE
    assert (
        with_outcomes(stopped, call_outcome(slow, Kind.AUTH, "HTTP 401"), now=slow).asks_again_at
        == NOW + ASK_AGAIN_AFTER
    )


def test_a_success_of_a_call_that_was_in_flight_does_not_undo_a_stop():
    state = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "HTTP 401"), CallOutcome(NOW + SECOND))
    assert state.stopped_at == NOW


def test_a_resumed_account_tries_with_one_call():
    state = resumed(with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "HTTP 401")))
    assert (state.stopped_at, state.stop_reason) == (None, "")
    assert granted(state).slots.count == 1
    assert granted(with_outcomes(state, CallOutcome(NOW))).slots.count == 10


def test_a_starting_worker_that_resumes_a_paused_account_changes_nothing():
    state = with_outcomes(WELL, rate_limited())
    assert resumed(state) == state


def test_an_operator_ends_a_pause_too_and_one_call_goes_first():
    state = resumed(with_outcomes(WELL, rate_limited(MINUTE)), pauses_too=True)
    assert state.blocked_until is None
    assert granted(state, rule=LIMITED).slots.count == 1


def test_no_resumption_brings_a_call_nearer_to_the_last_one_than_the_limit_allows():
    slow = replace(RULE, limits=(Limit(6, timedelta(hours=1)),))
    state = after_claim(WELL, slow, granted(WELL, rule=slow, most=1), 1, now=NOW, probe_for=MINUTE)
    for paused in (
        with_outcomes(state, rate_limited(MINUTE)),
        with_outcomes(state, call_outcome(NOW, Kind.AUTH, "HTTP 401")),
    ):
        assert resumed(paused, pauses_too=True).next_at == NOW + timedelta(minutes=10)


def test_no_more_is_granted_than_the_credits_allow():
    rule = replace(RULE, credits=10)
    assert granted(BudgetState(credits_used=7), rule=rule).slots.count == 3
    assert granted(BudgetState(credits_used=10), rule=rule).slots.count == 0
    assert granted(BudgetState(credits_used=12), rule=rule).slots.count == 0


def test_the_kinds_that_cost_nothing_are_those_that_open_nothing():
    refused = {Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.BAD_INPUT, Kind.CONFLICT, Kind.UNCLEAR}
    assert refused == FREE


def test_an_answer_that_may_be_about_one_row_neither_makes_nor_ends_a_stop():
    unclear = call_outcome(NOW + ASK_AGAIN_AFTER, Kind.UNCLEAR, "SMTP 554", SECOND, unclear=True)
    assert with_outcomes(WELL, unclear) == WELL
    stopped = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "SMTP 554", unclear=True))
    assert with_outcomes(stopped, unclear, now=NOW + ASK_AGAIN_AFTER).stopped_at == NOW


def test_a_stop_because_of_refused_messages_is_not_ended_by_a_log_in():
    refused = with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "SMTP 554", unclear=True))
    assert mark_verified(refused) == refused
    assert mark_verified(with_outcomes(WELL, call_outcome(NOW, Kind.AUTH, "SMTP 535"))).stopped_at is None
