"""What keeps an account or sender from calling now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.call_outcomes import CallOutcome, after_outcomes
from worker.core.limits.rate_limits import Limit, Ramp
from worker.core.model.endings import Kind
from worker.reporting.waits import Blocked, obstacle_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=20)
RULE = BudgetRule("email", limits=(Limit.parse("2/hour"),))
RAMPED = BudgetRule("email", limits=(Limit.parse("2/second"),), ramp=Ramp.parse("24/day x2"))
USED = BudgetState(next_at=LATER, ramp_from=NOW)


def test_the_obstacle_is_named_and_its_end(subtests):
    cases = [
        (RULE, BudgetState(), None),
        (RULE, BudgetState(next_at=NOW + timedelta(seconds=5)), None),  # a queue in motion
        (replace(RULE, limits=()), USED, None),  # the limit is gone
        (RULE, USED, Blocked("email", full_until=LATER, full_for="its limit of 2/hour")),
        (RAMPED, USED, Blocked("email", full_until=LATER, full_for="its ramp of 24/day x2, today 24/day")),
        (RULE, BudgetState(next_at=NOW + timedelta(days=9)), NOW + timedelta(minutes=30)),  # a wrong clock wrote it
        (RULE, BudgetState(blocked_until=LATER, pause_reason="421"), Blocked("email", "", LATER, "421")),
        (
            RULE,
            BudgetState(blocked_until=NOW, pause_reason="refused", unproven=True),
            Blocked("email", silent="refused"),
        ),
        (RULE, BudgetState(stopped_at=NOW, stop_reason="HTTP 401"), Blocked("email", "HTTP 401")),
        (replace(RULE, credits=9), BudgetState(credits_used=9), Blocked("email", "the cap of 9 credits is used up")),
    ]
    for rule, state, expected in cases:
        with subtests.test(rule=rule, state=state, expected=expected):
            found = obstacle_of("email", rule, state, now=NOW)
            if isinstance(expected, datetime):
                assert found is not None
                assert found.full_until == expected
            else:
                assert found == expected


def test_a_stop_with_a_probe_says_when_a_worker_asks_again():
    state = BudgetState(stopped_at=NOW, stop_reason="HTTP 401", asks_again_at=LATER)
    found = obstacle_of("kyc", BudgetRule("kyc"), state, now=NOW)
    assert found is not None
    assert found.in_words == "kyc is stopped: HTTP 401; a running worker asks again from 2026-11-21T12:20:00Z on"


def test_a_pause_that_lasts_after_a_call_of_another_worker_succeeded_still_says_why():
    at = NOW + timedelta(seconds=1)
    paused = after_outcomes(
        BudgetState(), RULE, [CallOutcome(NOW, Kind.RATE_LIMITED, "HTTP 429", LATER - NOW)], now=NOW
    )
    found = obstacle_of("kyc", RULE, after_outcomes(paused, RULE, [CallOutcome(at)], now=at), now=at)
    assert found is not None
    assert found.in_words == "kyc is paused until 2026-11-21T12:20:00Z: the wait that was asked for is not over"
