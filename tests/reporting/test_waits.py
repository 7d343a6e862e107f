"""What a row waits for and until when, in the words of a report."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.reporting.waits import Blocked, Wait, is_healthy, wait_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
STOPPED = Blocked("kyc", stopped="HTTP 401")
PAUSED = Blocked("email", paused_until=LATER, paused_for="421 later")
FULL = Blocked("email", full_until=SOON, full_for="its limit of 2/hour")
RESUME = "`onboard resume 7`"


def test_the_strongest_reason_is_named_with_the_time_at_which_the_row_goes_on(subtests):
    cases = [
        ({}, Wait("", "", None)),  # it is due: nothing to wait for
        ({"due_at": NOW - timedelta(days=1)}, Wait("", "", None)),
        ({"due_at": SOON, "reason": "transient", "detail": "HTTP 500"}, Wait("transient", "HTTP 500", SOON)),
        ({"due_at": SOON, "reason": "quiet_hours"}, "quiet_hours: not before 2026-11-21T12:01:00Z"),
        (
            {"due_at": LATER, "reason": "waits_for_sender", "blocked": [FULL, Blocked("kyc", silent="refused")]},
            Wait(
                "waits_for_sender",
                "the sender email has used up its limit of 2/hour, until 2026-11-21T12:01:00Z",
                LATER,
            ),
        ),
        ({"due_at": LATER, "blocked": [FULL], "reason": "quiet_hours"}, "quiet_hours: not before 2026-11-21T13:00:00Z"),
        ({"blocked": [PAUSED]}, Wait("account_paused", "email: 421 later", LATER)),
        ({"blocked": [PAUSED], "due_at": LATER + (LATER - NOW), "reason": "quiet_hours"}, "quiet_hours"),
        ({"blocked": [FULL]}, Wait("limit_used_up", "email: its limit of 2/hour", SOON)),
        ({"blocked": [FULL, PAUSED]}, Wait("account_paused", "email: 421 later", LATER)),
        ({"blocked": [PAUSED, STOPPED], "due_at": SOON}, "account_stopped: kyc: HTTP 401"),
        ({"blocked": [STOPPED], "paused": "by ann"}, Wait("batch_paused", "batch 7: by ann", None, RESUME)),
    ]
    for given, expected in cases:
        with subtests.test(given=given):
            plain = {"reason": "", "detail": "", "due_at": None, "paused": "", "batch_id": 7, "blocked": [], "now": NOW}
            found = wait_of(**plain | given)
            if isinstance(expected, str):
                assert found.why.startswith(expected)
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
