"""What keeps an account or sender from calling now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.core.limits.call_outcomes import call_outcome
from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.call_outcomes import CallOutcome, after_outcomes
from worker.core.limits.ramp import Ramp
from worker.core.limits.rate_limits import Limit
from worker.core.model.endings import Kind
from worker.reporting.waits import of_account

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=20)
RULE = BudgetRule("email", limits=(Limit.parse("2/hour"),))
RAMPED = BudgetRule("email", limits=(Limit.parse("2/second"),), ramp=Ramp.parse("24/day x2"))
AT = "2026-11-21T12:20:00Z"
USED = BudgetState(next_at=LATER, ramp_from=NOW)


def test_the_obstacle_is_named_and_its_end(subtests):
    cases = [
        (RULE, BudgetState(), ""),
        (RULE, BudgetState(next_at=NOW + timedelta(seconds=5)), ""),  # a queue in motion
        (replace(RULE, limits=()), USED, ""),  # the limit is gone
        (RULE, USED, f"has used up its limit of 2/hour, until {AT}"),
        (RAMPED, USED, f"has used up its ramp of 24/day x2, today 24/day, until {AT}"),
        (RULE, BudgetState(next_at=NOW + timedelta(days=9)), NOW + timedelta(minutes=30)),  # a wrong clock wrote it
        (RULE, BudgetState(blocked_until=LATER, pause_reason="421"), f"is paused until {AT}: 421"),
        (
            RULE,
            BudgetState(blocked_until=NOW, pause_reason="refused", unproven=True),
            "did not answer: refused",
        ),
        (RULE, BudgetState(stopped_at=NOW, stop_reason="HTTP 401"), "is stopped: HTTP 401"),
        (replace(RULE, credits=9), BudgetState(credits_used=9), "is stopped: the cap of 9 credits is used up"),
    ]
    for rule, state, expected in cases:
        with subtests.test(rule=rule, state=state, expected=expected):
            found = of_account("email", rule, state, now=NOW)
            if isinstance(expected, datetime):
                assert [one.until for one in found] == [expected]
            else:
                assert [one.in_words for one in found] == ([f"the sender email {expected}"] if expected else [])


def test_all_that_keeps_an_account_is_found_the_strongest_first_and_a_person_ends_a_stop_alone():
    state = BudgetState(stopped_at=NOW, stop_reason="HTTP 401", blocked_until=LATER, next_at=LATER, unproven=True)
    stop, *others = of_account("kyc", RULE, state, now=NOW)
    assert [one.reason for one in (stop, *others)] == ["account_stopped", "account_paused", "limit_used_up"]
    assert (stop.action, stop.until) == ("correct the cause, then `onboard account resume kyc`", None)
    assert [(one.action, one.until) for one in others] == [("", LATER), ("", LATER)]


def test_a_stop_with_a_probe_says_when_a_worker_asks_again():
    state = BudgetState(stopped_at=NOW, stop_reason="HTTP 401", asks_again_at=LATER)
    (found,) = of_account("kyc", BudgetRule("kyc"), state, now=NOW)
    assert found.in_words == "kyc is stopped: HTTP 401; a running worker asks again from 2026-11-21T12:20:00Z on"


def test_a_pause_that_lasts_after_a_call_of_another_worker_succeeded_still_says_why():
    at = NOW + timedelta(seconds=1)
    paused = after_outcomes(
        BudgetState(), RULE, [call_outcome(NOW, Kind.RATE_LIMITED, "HTTP 429", LATER - NOW)], now=NOW
    )
    (found,) = of_account("kyc", RULE, after_outcomes(paused, RULE, [CallOutcome(at)], now=at), now=at)
    assert found.in_words == "kyc is paused until 2026-11-21T12:20:00Z: the wait that was asked for is not over"
