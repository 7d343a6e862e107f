"""What a row waits for and until when, in the words of a report; what keeps an account or sender from calling now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.limits.budgets import BudgetRule, BudgetState
from onboarding_worker.core.limits.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.limits.limits import Limit
from onboarding_worker.core.limits.ramp import Ramp
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.reporting.waits import Wait, first_cause, is_healthy, of_account, of_row
from tests.core.limits.call_outcomes import call_outcome

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
RULE = BudgetRule("b", limits=(Limit.parse("2/hour"),))
STOPPED = of_account("kyc", RULE, BudgetState(stopped_at=NOW, stop_reason="HTTP 401"), now=NOW)
PAUSED = of_account("email", RULE, BudgetState(blocked_until=LATER, pause_reason="421 later"), now=NOW)
FULL = of_account("email", RULE, BudgetState(next_at=SOON), now=NOW)
FULL_LONG = of_account("kyc", RULE, BudgetState(next_at=LATER, blocked_until=SOON, pause_reason="HTTP 429"), now=NOW)
SILENT = of_account("kyc", RULE, BudgetState(unproven=True, pause_reason="refused"), now=NOW)
RESUME = "onboard resume 7"
THEN, AT = NOW + timedelta(minutes=20), "2026-11-21T12:20:00Z"
RAMPED = BudgetRule("email", limits=(Limit.parse("2/second"),), ramp=Ramp.parse("24/day x2"))
USED = BudgetState(next_at=THEN, ramp_from=NOW)


def wait(reason: str = "", detail: str = "", until: datetime | None = None, action: str = "") -> Wait:
    return Wait(reason=reason, detail=detail, until=until, action=action)


def test_the_strongest_reason_is_named_with_the_time_at_which_the_row_goes_on(subtests):
    cases = [
        ({}, wait()),  # it is due: nothing to wait for
        ({"due_at": NOW - timedelta(days=1)}, wait()),
        ({"due_at": SOON, "reason": "transient", "detail": "HTTP 500"}, wait("transient", "HTTP 500", SOON)),
        ({"due_at": SOON, "reason": "quiet_hours"}, "quiet_hours: not before 2026-11-21T12:01:00Z"),
        (
            {"due_at": LATER, "reason": "waits_for_sender", "blocked": [FULL, SILENT]},
            wait(
                "waits_for_sender",
                "the sender email has used up its limit of 2/hour, until 2026-11-21T12:01:00Z",
                LATER,
            ),
        ),
        ({"due_at": LATER, "blocked": [FULL], "reason": "quiet_hours"}, "quiet_hours: not before 2026-11-21T13:00:00Z"),
        ({"blocked": [PAUSED]}, wait("account_paused", "email: 421 later", LATER)),
        ({"blocked": [PAUSED], "due_at": LATER + (LATER - NOW), "reason": "quiet_hours"}, "quiet_hours"),
        ({"blocked": [FULL]}, wait("limit_used_up", "email: its limit of 2/hour", SOON)),
        ({"blocked": [FULL, PAUSED]}, wait("account_paused", "email: 421 later", LATER)),
        ({"blocked": [FULL_LONG]}, wait("limit_used_up", "kyc: its limit of 2/hour", NOW + timedelta(minutes=30))),
        ({"blocked": [FULL_LONG], "due_at": SOON, "reason": "quiet_hours"}, "limit_used_up: kyc"),
        ({"blocked": [FULL_LONG], "due_at": SOON, "reason": "waits_for_sender"}, "limit_used_up: kyc"),
        ({"blocked": [PAUSED, STOPPED], "due_at": SOON}, "account_stopped: kyc: HTTP 401"),
        ({"blocked": [STOPPED], "paused": "by ann"}, wait("batch_paused", "batch 7: by ann", None, RESUME)),
    ]
    for given, expected in cases:
        with subtests.test(given=given):
            plain = {"reason": "", "detail": "", "due_at": None, "paused": "", "batch_id": 7, "blocked": [], "now": NOW}
            found = of_row(first_cause(**plain | given))
            if isinstance(expected, str):
                assert found.error.startswith(expected)
                assert (found.until is None) == bool(
                    found.action
                )  # a person ends a stop, and a time ends everything else
            else:
                assert found == expected


@pytest.mark.parametrize("reason", [Reason.JOINED_JOB, Reason.JOINED_SESSION, Reason.ALREADY_FINISHED])
def test_how_a_served_row_is_served_is_no_error(reason):
    for state in (JobState.ISSUED, JobState.INVITED, JobState.COMPLETED):
        assert is_healthy(state, reason)
    for state in (JobState.WAITING, JobState.HELD, JobState.FAILED):
        assert not is_healthy(state, reason)
    assert not is_healthy(JobState.INVITED, Reason.BOUNCED)


def test_the_obstacle_is_named_and_its_end(subtests):
    cases = [
        (RULE, BudgetState(), ""),
        (RULE, BudgetState(next_at=NOW + timedelta(seconds=5)), ""),  # a queue in motion
        (replace(RULE, limits=()), USED, ""),  # the limit is gone
        (RULE, USED, f"has used up its limit of 2/hour, until {AT}"),
        (RAMPED, USED, f"has used up its ramp of 24/day x2, today 24/day, until {AT}"),
        (RULE, BudgetState(next_at=NOW + timedelta(days=9)), NOW + timedelta(minutes=30)),  # a wrong clock wrote it
        (RULE, BudgetState(blocked_until=THEN, pause_reason="421"), f"is paused until {AT}: 421"),
        (RULE, BudgetState(blocked_until=NOW, pause_reason="refused", unproven=True), "did not answer: refused"),
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
    state = BudgetState(stopped_at=NOW, stop_reason="HTTP 401", blocked_until=THEN, next_at=THEN, unproven=True)
    stop, *others = of_account("kyc", RULE, state, now=NOW)
    assert [one.reason for one in (stop, *others)] == ["account_stopped", "account_paused", "limit_used_up"]
    assert (stop.action, stop.until) == ("correct the cause, then `onboard account resume kyc`", None)
    assert [(one.action, one.until) for one in others] == [("", THEN), ("", THEN)]


def test_a_stop_with_a_probe_says_when_a_worker_asks_again():
    state = BudgetState(stopped_at=NOW, stop_reason="HTTP 401", asks_again_at=THEN)
    (found,) = of_account("kyc", BudgetRule("kyc"), state, now=NOW)
    assert found.in_words == "kyc is stopped: HTTP 401; a running worker asks again from 2026-11-21T12:20:00Z on"


def test_a_pause_that_lasts_after_a_call_of_another_worker_succeeded_still_says_why():
    at = NOW + timedelta(seconds=1)
    paused = after_outcomes(
        BudgetState(), RULE, [call_outcome(NOW, Kind.RATE_LIMITED, "HTTP 429", THEN - NOW)], now=NOW
    )
    (found,) = of_account("kyc", RULE, after_outcomes(paused, RULE, [CallOutcome(at)], now=at), now=at)
    assert found.in_words == "kyc is paused until 2026-11-21T12:20:00Z: the wait that was asked for is not over"
