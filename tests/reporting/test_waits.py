"""What a row waits for and until when, in the words of a report."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.rate_limits import Limit
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.reporting.waits import Wait, first_cause, is_healthy, of_account, of_row

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
RULE = BudgetRule("b", limits=(Limit.parse("2/hour"),))
STOPPED = of_account("kyc", RULE, BudgetState(stopped_at=NOW, stop_reason="HTTP 401"), now=NOW)
PAUSED = of_account("email", RULE, BudgetState(blocked_until=LATER, pause_reason="421 later"), now=NOW)
FULL = of_account("email", RULE, BudgetState(next_at=SOON), now=NOW)
FULL_LONG = of_account("kyc", RULE, BudgetState(next_at=LATER, blocked_until=SOON, pause_reason="HTTP 429"), now=NOW)
SILENT = of_account("kyc", RULE, BudgetState(unproven=True, pause_reason="refused"), now=NOW)
RESUME = "onboard resume 7"


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
