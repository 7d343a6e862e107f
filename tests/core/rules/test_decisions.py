"""What becomes of a session with something of its own: a refusal, our own link, a corrected address, an early end."""

from dataclasses import replace
from datetime import UTC, datetime

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rules.contact import CorrectedRule
from onboarding_worker.core.rules.given_links import SameLink
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.reissue import (
    LEAVING,
    REVIEW_ASKED,
    REVIEWED_AGAIN,
    SETTLES,
    Ask,
    Lapsed,
    Leave,
    Reissue,
    Rest,
    Stands,
    Wait,
    ahead_at,
)
from onboarding_worker.core.upkeep.expired_sessions import LOOKED_AT_AGAIN
from tests.core.rules.test_reissue import DAY, FACTS, HOUR, LONG_AGO, MINUTE, NOW, RULE, decision

TOMORROW = Wait(datetime(2026, 11, 21, tzinfo=UTC), Reason.DAY_CAP)
SPENT_TODAY = {"reissued_today": 100}
LISTED = {"lists": True, "can_ask": True}
REVIEWED_BEFORE = Wait(NOW + HOUR, Reason.IN_REVIEW)


def differing(facts, cases, **how):
    return [(changes, got) for changes, expected in cases if (got := decision(facts, **how, **changes)) != expected]


def test_a_refused_customer_is_asked_once_more_within_the_caps_or_stays_refused():
    refused = replace(FACTS, session=SessionState.FAILED, refused=True, may_ask_again=True)
    cases = [
        ({}, Reissue(NOW)),
        ({"allowed_from": NOW + DAY}, Reissue(NOW)),  # the verdict has ended the session
        ({"expires_at": NOW + DAY, "given_away": True}, Reissue(NOW)),
        ({"may_ask_again": False}, Stands()),
        ({"reissues": 3}, Stands()),
        ({"in_review_before": True}, REVIEWED_BEFORE),
        (SPENT_TODAY, TOMORROW),
        ({"erased": True}, Stands()),
    ]
    assert differing(refused, cases) == []


def test_after_the_second_session_of_a_refused_customer_no_third_one_follows():
    cases = [
        ({}, Stands()),
        (LISTED, Ask()),
        (LISTED | {"asked_at": NOW}, Stands()),
        ({"expires_at": NOW + HOUR}, Wait(NOW + HOUR + SETTLES, Reason.ALIVE)),
        ({"erased": True}, Stands()),
    ]
    assert differing(replace(FACTS, asked_again=True), cases) == []


def test_our_own_link_waits_for_the_customer_and_the_job_ends_with_it():
    own = replace(FACTS, link_until=NOW + DAY)
    over = {"link_until": NOW}
    cases = [
        ({}, Rest(NOW + DAY)),
        (SPENT_TODAY, Rest(NOW + DAY)),
        (LISTED, Ask()),
        (over | LISTED, Ask()),
        (over, Lapsed(Reason.LINK_ENDED, Reason.LINK_ENDED.meaning)),
        ({"session": SessionState.DEFERRED}, Rest(NOW + DAY)),
        ({"session": SessionState.DEFERRED, "link_until": None}, Leave(Reason.SESSION_DECIDED)),
        ({"session": SessionState.COMPLETED}, Leave(Reason.SESSION_DECIDED)),
        ({"job": JobState.WAITING}, Leave(Reason.NOT_INVITED)),
        ({"expires_at": NOW}, Wait(NOW + SETTLES, Reason.ALIVE)),
    ]
    assert differing(own, cases) == []


def test_the_provider_is_asked_before_a_job_ends_and_not_before_the_day_allows_a_new_session():
    cases = [
        ({"reissues": 3} | LISTED, Ask()),
        (SPENT_TODAY | LISTED, TOMORROW),
        (LISTED | {"session": SessionState.EXPIRED}, Reissue(NOW)),
        # An end of our own making, of an account that cannot be asked now: the session may live.
        ({"lists": True, "end_is_theirs": False}, Wait(NOW + HOUR, Reason.ALIVE)),
        ({"lists": True}, Reissue(NOW)),
        ({"end_is_theirs": False}, Reissue(NOW)),
        ({"end_is_theirs": False} | LISTED, Ask()),
        ({"lists": True, "end_is_theirs": False, "asked_at": NOW}, Reissue(NOW)),
        ({"lists": True, "end_is_theirs": False, "session": SessionState.EXPIRED}, Reissue(NOW)),
        ({"session": SessionState.EXPIRED, "allowed_from": NOW + DAY}, Reissue(NOW)),
        ({"job": JobState.COMPLETED, "in_review": True} | LISTED, Leave(Reason.JOB_ENDED)),
        ({"job": JobState.WAITING} | LISTED, Leave(Reason.NOT_INVITED)),
    ]
    assert differing(FACTS, cases) == []


def test_a_link_that_went_to_an_address_corrected_since_is_replaced_early_or_at_its_end():
    given = replace(FACTS, given_away=True, expires_at=NOW + DAY, allowed_from=NOW + 2 * DAY, issued_at=NOW - MINUTE)
    early = {"allowed_from": LONG_AGO}
    wait = Wait(NOW + 2 * DAY, Reason.ALIVE)
    cases = [
        ({}, wait),
        ({"allowed_from": NOW + DAY}, Wait(NOW + DAY + SETTLES, Reason.ALIVE)),
        (early, Reissue(NOW, still_opens=True)),
        (early | SPENT_TODAY, TOMORROW),
        (early | {"reissues": 3}, Wait(NOW + DAY + SETTLES, Reason.ALIVE)),
        (early | {"in_review_before": True}, Wait(NOW + DAY + SETTLES, Reason.ALIVE)),
        ({"rule": replace(RULE, corrected=CorrectedRule.SAME_LINK)}, SameLink()),
        ({"job": JobState.ISSUED}, Wait(NOW + LEAVING, Reason.NOT_INVITED)),
        ({"job": JobState.ISSUED, "expires_at": NOW}, Leave(Reason.NOT_INVITED)),
        ({"job": JobState.ISSUED, "given_away": False}, Leave(Reason.NOT_INVITED)),
        (early | {"session": SessionState.EXPIRED, "issued_at": NOW - 2 * DAY}, Reissue(NOW)),
        (early | {"expires_at": NOW - HOUR, "issued_at": NOW - 2 * DAY}, Reissue(NOW)),
        (early | {"session": SessionState.DEFERRED}, Leave(Reason.SESSION_DECIDED)),
    ]
    assert differing(given, cases) == []


def test_a_link_is_replaced_ahead_of_its_end_only_for_a_customer_who_has_not_started():
    rule = replace(RULE, ahead=2 * HOUR)
    ends_soon = replace(FACTS, expires_at=NOW + HOUR, allowed_from=LONG_AGO)
    at_its_end = Wait(NOW + HOUR + SETTLES, Reason.ALIVE)
    cases = [
        ({}, Reissue(NOW, ahead=True)),
        ({"session": SessionState.STARTED}, at_its_end),
        ({"in_review_before": True}, at_its_end),
        ({"link_until": NOW + 9 * DAY}, at_its_end),
        ({"allowed_from": NOW + HOUR}, at_its_end),
        ({"reissues": 3}, at_its_end),
        ({"expires_at": NOW + 3 * HOUR}, Wait(NOW + HOUR, Reason.ALIVE)),
        (SPENT_TODAY, Wait(NOW + HOUR, Reason.ALIVE)),
        (SPENT_TODAY | {"expires_at": NOW + 13 * HOUR, "now": NOW + 11 * HOUR}, TOMORROW),
        ({"expires_at": NOW - MINUTE}, Reissue(NOW)),  # its replacement is late
        ({"job": JobState.ISSUED}, Wait(NOW + LEAVING, Reason.NOT_INVITED)),
        ({"job": JobState.ISSUED, "expires_at": NOW + 3 * HOUR}, Wait(NOW + HOUR, Reason.NOT_INVITED)),
        ({"job": JobState.ISSUED, "expires_at": NOW}, Leave(Reason.NOT_INVITED)),
        ({"job": JobState.ISSUED, "in_review": True, "lists": True}, Wait(NOW + DAY, Reason.IN_REVIEW)),
        ({"job": JobState.ISSUED, "in_review_before": True}, Leave(Reason.NOT_INVITED)),
        ({"job": JobState.WORKING}, Leave(Reason.NOT_INVITED)),
        ({"expires_at": NOW}, Reissue(NOW)),
        ({"expires_at": NOW - MINUTE, "given_away": True}, Wait(NOW - MINUTE + SETTLES, Reason.ALIVE)),
        ({"expires_at": NOW - MINUTE, "reissues": 3}, Wait(NOW - MINUTE + SETTLES, Reason.ALIVE)),
        (SPENT_TODAY | {"expires_at": NOW + 12 * HOUR, "now": NOW + 11 * HOUR}, Wait(NOW + 12 * HOUR, Reason.ALIVE)),
    ]
    assert differing(ends_soon, cases, rule=rule) == []


def test_a_link_that_ends_at_night_is_replaced_before_it_or_as_early_as_it_may_be():
    """Where it is not known until when a message may leave, the result is the earliest time."""
    begins, end = NOW, NOW + 10 * HOUR
    quiet = Hours({"email": QuietHours.parse("21:00-08:00")})
    for hours, last_message, at in [
        (Hours({}), None, NOW + 8 * HOUR),
        (quiet, None, NOW + 5 * HOUR),
        (quiet, NOW + 9 * HOUR, NOW + 7 * HOUR),
        (quiet, NOW + 6 * HOUR, NOW + 5 * HOUR),
    ]:
        rule = replace(RULE, ahead=2 * HOUR, spacing=HOUR, hours=hours)
        assert ahead_at(rule, begins, end, LONG_AGO, last_message) == at
        assert ahead_at(replace(rule, ahead=0 * HOUR), begins, end, LONG_AGO, last_message) is None
        assert ahead_at(rule, begins, end, end, last_message) is None


def test_a_session_is_looked_at_again_after_these_times():
    assert (SETTLES, LEAVING, REVIEWED_AGAIN) == (15 * MINUTE, MINUTE, HOUR)
    assert REVIEW_ASKED == LOOKED_AT_AGAIN == DAY
