"""What a row waits for and until when, in the words of a report; what keeps an account or sender from calling now."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.rules.contact import AddressCap, Caps, ContactPolicy
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.ramp import Ramp
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.reporting.waits import (
    Circumstances,
    Place,
    Wait,
    Waiting,
    cause_of,
    is_healthy,
    of_account,
    of_row,
    turns_at,
)
from tests.core.rules.call_outcomes import call_outcome

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
RULE = BudgetRule("b", limits=(Limit.parse("2/hour"),))
STOPPED = of_account("kyc", RULE, BudgetState(stopped_at=NOW, stop_reason="HTTP 401"), now=NOW)
PAUSED = of_account("email", RULE, BudgetState(blocked_until=LATER, pause_reason="421 later"), now=NOW)
FULL = of_account("email", RULE, BudgetState(next_at=SOON), now=NOW)
FULL_LONG = of_account(
    "kyc", RULE, BudgetState(next_at=NOW + timedelta(hours=2), blocked_until=SOON, pause_reason="HTTP 429"), now=NOW
)
SILENT = of_account("kyc", RULE, BudgetState(unproven=True, pause_reason="refused"), now=NOW)
CAPS = Caps(2, 3)
RESUME = "`onboard resume 7`"
THEN, AT = NOW + timedelta(minutes=20), "2026-11-21T12:20:00Z"
RAMPED = BudgetRule("email", limits=(Limit.parse("2/second"),), ramp=Ramp.parse("24/day x2"))
USED = BudgetState(next_at=THEN, ramp_from=NOW)


def wait(reason: str = "", detail: str = "", until: datetime | None = None, action: str = "") -> Wait:
    return Wait(reason=reason, detail=detail, until=until, action=action)


def found(blocked: Sequence[Sequence[Wait]] = (), paused: str = "", stopped: str = "", **waiting) -> Wait:
    """What a row of batch 7 waits for, in the words of a report."""
    around = Circumstances(stopped, {each[0].name: each for each in blocked})
    return of_row(cause_of(Waiting(Place(7, paused), ("kyc", "email"), **waiting), around, now=NOW))


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
        ({"blocked": [FULL_LONG, PAUSED]}, wait("account_paused", "email: 421 later", LATER)),
        ({"blocked": [FULL_LONG]}, wait("limit_used_up", "kyc: its limit of 2/hour", NOW + timedelta(minutes=30))),
        ({"blocked": [FULL_LONG], "due_at": SOON, "reason": "quiet_hours"}, "limit_used_up: kyc"),
        ({"blocked": [FULL_LONG], "due_at": SOON, "reason": "waits_for_sender"}, "limit_used_up: kyc"),
        ({"blocked": [PAUSED, STOPPED], "due_at": SOON}, "account_stopped: kyc: HTTP 401"),
        ({"blocked": [STOPPED], "paused": "by ann"}, wait("batch_paused", "batch 7: by ann", None, RESUME)),
        ({"stopped": "by bo", "paused": "by ann"}, wait("", "by bo", None, "onboard resume --all")),
    ]
    for given, expected in cases:
        with subtests.test(given=given):
            said = found(**given)
            if isinstance(expected, str):
                assert said.error.startswith(expected)
                # A person ends a stop, and a time ends everything else.
                assert (said.until is None) == bool(said.action)
            else:
                assert said == expected


def test_where_calls_are_minutes_apart_a_row_that_is_due_later_is_said_to_take_turns():
    budgets = {"kyc": RULE, "au": BudgetRule("au", limits=(Limit.parse("1/second"),)), "email": RAMPED}
    turns = turns_at(budgets, {"email": USED}, now=NOW)
    assert turns == {
        "kyc": "then in turn, by its limit of 2/hour",
        "email": "then in turn, by its ramp of 24/day x2, today 24/day",
    }
    around, unknown = Circumstances(turns=turns), {"reason": "unknown", "detail": "reconciled from 13:00"}
    for due_at, names, expected in (
        (LATER, ("kyc",), "unknown: reconciled from 13:00; then in turn, by its limit of 2/hour"),
        (LATER, ("au",), "unknown: reconciled from 13:00"),
        (NOW, ("kyc",), "unknown: reconciled from 13:00"),  # whether the limit is used up is known
    ):
        row = Waiting(Place(7), names, due_at, **unknown)
        assert of_row(cause_of(row, around, now=NOW)).error == expected


def test_a_reason_of_the_last_look_is_named_only_while_it_is_still_so(subtests):
    free, brands = ContactPolicy(CAPS), [ContactPolicy(CAPS, brands=frozenset({one})) for one in ("nova", "sol")]
    quiet = Hours({"email": QuietHours.parse("21:00-08:00")})
    capped = ContactPolicy(CAPS, hours=quiet, address_cap=AddressCap(1, timedelta(days=1)), texts_per_country=9)
    cases = [
        *((word, {"contact": capped}, "") for word in ("quiet_hours", "address_spent", "country_spent")),
        *((word, {"contact": free}, None) for word in ("quiet_hours", "address_spent", "country_spent")),
        ("transient", {"contact": free}, ""),
        ("credits_spent", {"spent": lambda batch: batch == 7}, "`onboard resume 7 --most-credits N`"),
        ("credits_spent", {"spent": lambda _batch: False}, None),
        ("brand_missing", {"contact": brands[0]}, "put [brand.NAME] back into the configuration, or cancel the row"),
        ("brand_missing", {"contact": brands[1]}, None),
    ]
    for reason, around, action in cases:
        with subtests.test(reason=reason, around=around):
            row = Waiting(Place(7), ("kyc",), SOON, reason, brand="sol")
            one = cause_of(row, Circumstances(**around), now=NOW)
            # It is looked at again then, and goes on.
            expected = wait("", "", SOON) if action is None else wait(reason, "", None if action else SOON, action)
            assert one == expected
    capped = of_account("kyc", RULE, BudgetState(next_at=LATER), now=NOW)
    row = Waiting(Place(7), ("kyc",), NOW, "credits_spent")
    after = cause_of(row, Circumstances(blocked={"kyc": capped}, spent=lambda _batch: False), now=NOW)
    assert (after.reason, after.action) == ("limit_used_up", "")


def test_a_row_of_an_account_that_is_not_configured_waits_for_a_person():
    around = Circumstances(orphans={"au": OrphanRule()})
    assert cause_of(Waiting(Place(7), ("kyc",), SOON), around, now=NOW).reason == "account_missing"
    assert cause_of(Waiting(Place(7), ("au",), SOON), around, now=NOW) == wait("", "", SOON)
    assert cause_of(Waiting(Place(7), ("email",), SOON), around, now=NOW) == wait("", "", SOON)  # a message


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


def test_a_lost_answer_is_looked_up_at_a_cap_and_waits_for_no_person():
    at_cap = of_account("kyc", replace(RULE, credits=9), BudgetState(credits_used=9), now=NOW)
    assert found([at_cap], due_at=SOON, reason="unknown") == wait("unknown", until=SOON)
    assert found([at_cap]).action
    assert found([STOPPED], due_at=SOON, reason="unknown").action


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
