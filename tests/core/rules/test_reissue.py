"""A session that ended unused is replaced within the caps, never too early, and only if the customer may be invited."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_testing.fakes import FakeProvider
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours, allowed_at
from onboarding_worker.core.rules.reissue import (
    SETTLES,
    Ask,
    Decision,
    Lapsed,
    Leave,
    Reissue,
    SessionFacts,
    Wait,
    decide,
    replace_at,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
RIGA = ("Europe/Riga",)
RULE = ContactPolicy(Caps(reissues=3, messages=6), spacing=DAY, per_day=100)
# It ended by our clock an hour ago; the provider would hand back the same token, or be asked to wait, until then.
FACTS = SessionFacts(
    job=JobState.INVITED,
    session=SessionState.WAITING,
    issued_at=NOW - 7 * DAY - HOUR,
    expires_at=NOW - HOUR,
    allowed_from=NOW - HOUR,
    channels=("email",),
    zones=RIGA,
    reissues=0,
    messages=1,
    max_age=156 * HOUR,
)


def decision(facts=FACTS, *, rule=RULE, quiet=None, now=NOW, **changes) -> Decision:
    return decide(replace(rule, hours=Hours(quiet or {})), replace(facts, **changes), now)


def test_a_session_that_ended_unused_is_replaced():
    assert decision() == Reissue(NOW)
    assert decision(session=SessionState.STARTED) == Reissue(NOW)


def test_a_customer_whose_job_has_ended_gets_no_new_session():
    assert [(job, got) for job in sorted(ENDED_JOBS) if (got := decision(job=job)) != Leave(Reason.JOB_ENDED)] == []


@pytest.mark.parametrize("job", [JobState.WAITING, JobState.WORKING, JobState.ISSUED])
def test_a_link_that_never_left_is_replaced_when_its_message_is_due(job):
    assert decision(job=job) == Leave(Reason.NOT_INVITED)


def test_a_message_with_our_own_link_keeps_its_session_only_while_that_link_leads_on():
    assert decision(job=JobState.ISSUED, link_until=NOW + HOUR) == Wait(NOW + HOUR, Reason.NOT_INVITED)
    assert decision(job=JobState.ISSUED, link_until=NOW) == Leave(Reason.NOT_INVITED)


def test_a_final_result_is_no_reason_for_a_new_session():
    assert [
        (session, got)
        for session in sorted(set(SessionState) - LIVE_SESSIONS - {SessionState.EXPIRED})
        if (got := decision(session=session)) != Leave(Reason.SESSION_DECIDED)
    ] == []


def test_an_erased_customer_is_left_alone():
    assert decision(erased=True) == Leave(Reason.ERASED)


def test_an_unknown_outcome_waits_for_its_reconciliation():
    assert decision(outcome_unknown=True) == decision(job=JobState.HELD) == Wait(None, Reason.UNKNOWN)


def test_a_customer_in_review_is_not_asked_to_start_again():
    assert decision(in_review=True, session=SessionState.STARTED) == Wait(None, Reason.IN_REVIEW)


def test_a_provider_that_lists_its_sessions_is_asked_about_a_review_each_day():
    reviewed = replace(FACTS, in_review=True, session=SessionState.STARTED, lists=True, can_ask=True)
    assert decision(reviewed) == decision(reviewed, expires_at=NOW + DAY) == Ask()
    assert decision(reviewed, asked_at=NOW) == Wait(NOW + DAY, Reason.IN_REVIEW)
    assert decision(reviewed, asked_at=NOW - 23 * HOUR) == Wait(NOW + HOUR, Reason.IN_REVIEW)
    assert decision(reviewed, asked_at=NOW - DAY) == Ask()
    assert decision(reviewed, can_ask=False) == Wait(NOW + HOUR, Reason.IN_REVIEW)


@pytest.mark.parametrize("job", [JobState.WAITING, JobState.WORKING, JobState.ISSUED])
def test_a_review_is_not_forgotten_while_a_call_or_a_message_is_under_way(job):
    reviewed = replace(FACTS, in_review=True, session=SessionState.STARTED, job=job)
    assert decision(reviewed, lists=True, can_ask=True) == Wait(NOW + DAY, Reason.IN_REVIEW)
    assert decision(reviewed) == Leave(Reason.NOT_INVITED)


def test_what_was_asked_during_a_review_is_asked_again_after_the_links_end_and_then_no_more():
    listed = replace(FACTS, lists=True, can_ask=True)
    assert decision(listed, asked_at=FACTS.expires_at - MINUTE) == Ask()
    assert decision(listed, asked_at=FACTS.expires_at) == Reissue(NOW)


def test_a_customer_who_is_reviewed_for_the_session_before_is_looked_at_again():
    for facts in ({}, {"session": SessionState.EXPIRED}, {"reissues": 100}):
        assert decision(in_review_before=True, **facts) == Wait(NOW + HOUR, Reason.IN_REVIEW)


def test_by_our_own_clock_a_result_may_come_for_a_while_after_the_end():
    end = NOW - HOUR
    assert decision(now=end) == decision(now=end + 14 * MINUTE) == Wait(end + 15 * MINUTE, Reason.ALIVE)
    assert decision(now=end + 15 * MINUTE) == Reissue(end + 15 * MINUTE)


def test_that_is_longer_than_a_session_opened_in_the_last_minute_can_take():
    assert decision(now=NOW - HOUR + 10 * MINUTE) == Wait(NOW - HOUR + 15 * MINUTE, Reason.ALIVE)


def test_after_the_provider_has_reported_the_expiry_no_result_comes():
    assert decision(session=SessionState.EXPIRED, now=NOW - HOUR) == Reissue(NOW - HOUR)


def test_a_session_is_never_requested_before_the_providers_time(subtests):
    for session in sorted(LIVE_SESSIONS):
        with subtests.test(session=session):
            later = NOW + 5 * HOUR
            found = decision(session=session, allowed_from=later, expires_at=later, now=NOW)
            assert isinstance(found, Wait)
            assert found.until is not None
            assert found.until >= later


@pytest.mark.parametrize("allowed_from", [LONG_AGO, NOW + 3 * DAY])
def test_the_first_session_that_the_provider_ends_early_is_replaced_at_once_and_further_ones_are_spaced(allowed_from):
    issued_at = NOW - HOUR
    ended = replace(
        FACTS, session=SessionState.EXPIRED, issued_at=issued_at, expires_at=NOW + 3 * DAY, allowed_from=allowed_from
    )
    assert decision(ended) == Reissue(NOW)
    assert decision(ended, reissues=1) == Reissue(issued_at + DAY)


def test_a_link_that_aged_before_it_was_sent_is_replaced_under_the_spacing(subtests):
    cases = [
        ({}, NOW + 5 * HOUR),  # it aged: not before the provider's time
        ({"allowed_from": LONG_AGO}, NOW - HOUR + DAY),  # nor within the spacing
        ({"allowed_from": LONG_AGO, "issued_at": NOW - 2 * DAY}, NOW),
        ({"reported_over": True}, NOW),
        ({"reported_over": True, "reissues": 1}, NOW - HOUR + DAY),
        ({"reported_over": True, "expires_at": NOW - MINUTE}, NOW - HOUR + DAY),  # not early: it had its whole life
    ]
    for changes, at in cases:
        with subtests.test(changes=changes):
            facts = {
                "allowed_from": NOW + 5 * HOUR,
                "issued_at": NOW - HOUR,
                "expires_at": NOW + 5 * HOUR,
                "spacing": DAY if changes else 4 * HOUR,
                "reported_over": False,
                "reissues": 0,
                "now": NOW,
            } | changes
            assert replace_at(**facts) == at


def test_where_another_one_can_be_had_at_any_time_the_end_is_waited_for_all_the_same():
    alive = replace(FACTS, expires_at=NOW + HOUR, allowed_from=LONG_AGO)
    assert decision(alive) == Wait(NOW + HOUR + 15 * MINUTE, Reason.ALIVE)


def test_sessions_of_a_customer_are_spaced():
    short = replace(FACTS, issued_at=NOW - 2 * HOUR)
    assert decision(short) == Reissue(NOW + 22 * HOUR)


def test_a_session_is_not_requested_before_its_message_may_leave():
    quiet = {"email": QuietHours.parse("13:00-17:00")}
    assert decision(quiet=quiet) == Reissue(NOW + 3 * HOUR)
    short = replace(FACTS, issued_at=NOW - 2 * HOUR)
    assert decision(short, quiet={"email": QuietHours.parse("11:00-13:00")}) == Reissue(NOW + 23 * HOUR)


def test_used_up_caps_end_the_job_with_their_reason():
    for changes, reason in (
        ({"reissues": 3}, Reason.REISSUES_SPENT),
        ({"messages": 6}, Reason.MESSAGES_SPENT),
        ({"channels": ()}, Reason.SUPPRESSED),
    ):
        found = decision(**changes)
        assert isinstance(found, Lapsed)
        assert found.reason is reason
        assert found.detail


def test_used_up_caps_do_not_end_a_job_whose_link_still_opens():
    alive = replace(FACTS, expires_at=NOW + HOUR, allowed_from=LONG_AGO, reissues=3)
    assert decision(alive) == Wait(NOW + HOUR + 15 * MINUTE, Reason.ALIVE)


def test_an_account_reissues_so_many_a_day_and_the_rest_tomorrow():
    assert decision(reissued_today=99) == Reissue(NOW)
    assert decision(reissued_today=100) == Wait(datetime(2026, 11, 21, tzinfo=UTC), Reason.DAY_CAP)
    assert decision(reissued_today=10**6, rule=replace(RULE, per_day=None)) == Reissue(NOW)


def test_the_cap_of_the_day_keeps_no_job_from_ending():
    assert isinstance(decision(reissued_today=100, reissues=3), Lapsed)


def test_the_providers_own_time_is_used_unchanged():
    allowed_from = FakeProvider().reissue_at(FACTS.expires_at)
    assert decision(allowed_from=allowed_from) == Reissue(NOW)


moments = st.integers(-14 * 24 * 4, 14 * 24 * 4).map(lambda count: NOW + count * 15 * MINUTE)
lives = st.integers(1, 10 * 24 * 4).map(lambda count: count * 15 * MINUTE)
link_statuses = st.builds(
    lambda issued_at, life, early, **rest: SessionFacts(
        issued_at=issued_at, expires_at=issued_at + life, allowed_from=LONG_AGO if early else issued_at + life, **rest
    ),
    moments,
    lives,
    st.booleans(),
    job=st.sampled_from(JobState),
    session=st.sampled_from(SessionState),
    channels=st.sampled_from([(), ("email",), ("sms",), ("email", "sms")]),
    zones=st.just(RIGA),
    reissues=st.integers(0, 5),
    messages=st.integers(0, 8),
    max_age=lives,
    reissued_today=st.integers(0, 200),
    outcome_unknown=st.booleans(),
    in_review=st.booleans(),
    in_review_before=st.booleans(),
    lists=st.booleans(),
    erased=st.booleans(),
)
NEITHER = {"in_review": False, "in_review_before": False}
open_standings = link_statuses.map(
    lambda found: replace(found, job=JobState.INVITED, outcome_unknown=False, erased=False, **NEITHER)
)
rules = st.builds(
    ContactPolicy,
    st.builds(Caps, st.integers(0, 4), st.integers(1, 8)),
    spacing=lives,
    per_day=st.none() | st.integers(1, 200),
    hours=st.builds(
        Hours,
        st.dictionaries(
            st.sampled_from(["email", "sms"]),
            st.sampled_from([QuietHours.parse(text) for text in ("21:00-08:00", "10:00-11:00")]),
        ),
    ),
)


@given(rules, link_statuses | open_standings, moments)
def test_a_new_session_keeps_every_promise_at_once(rule, facts, now):
    found = decide(rule, facts, now)
    if not isinstance(found, Reissue):
        return
    assert facts.job is JobState.INVITED
    assert facts.session in (SessionState.WAITING, SessionState.STARTED, SessionState.EXPIRED)
    assert (facts.outcome_unknown, facts.in_review, facts.in_review_before, facts.erased) == (False,) * 4
    assert facts.channels
    assert facts.reissues < rule.caps.reissues
    assert facts.messages < rule.caps.messages
    assert rule.per_day is None or facts.reissued_today < rule.per_day
    assert found.due_at >= now
    ended_early = facts.session is SessionState.EXPIRED and facts.expires_at > now
    if not ended_early or facts.reissues:  # the first session that the provider ends early is replaced at once
        assert found.due_at >= facts.issued_at + rule.spacing
    if facts.session is not SessionState.EXPIRED:
        assert now >= facts.expires_at + SETTLES
        assert found.due_at >= facts.allowed_from
    assert any(
        allowed_at(RIGA, rule.hours.quiet.get(channel), found.due_at) == found.due_at for channel in facts.channels
    )


@given(rules, open_standings, moments)
def test_every_waiting_session_is_decided_in_the_end(rule, facts, now):
    """If it is checked whenever it is due, a session is replaced or ends its job: it never waits for ever."""
    for _ in range(4):
        found = decide(rule, facts, now)
        if not isinstance(found, Wait):
            break
        assert found.until is not None
        assert found.until > now
        now = found.until
        facts = replace(facts, reissued_today=0)  # it is checked tomorrow at the latest
    assert isinstance(found, Reissue | Lapsed | Leave)


early_links = st.builds(
    lambda issued_at, life, channel: replace(
        FACTS,
        issued_at=issued_at,
        expires_at=issued_at + life,
        allowed_from=LONG_AGO,
        channels=(channel,),
        max_age=life,
    ),
    moments,
    lives,
    st.sampled_from(["email", "sms"]),
)


@given(rules, early_links, st.timedeltas(MINUTE, 6 * HOUR))
def test_a_link_that_can_be_replaced_ahead_is_dead_in_no_minute_in_which_its_replacement_could_have_left(
    rule, facts, ahead
):
    rule = replace(rule, ahead=ahead, per_day=None, caps=Caps(9, 9))
    now, found = facts.issued_at, None
    while not isinstance(found, Reissue):
        found = decide(rule, facts, now)
        now = found.until if isinstance(found, Wait) else now
    earliest = facts.issued_at + max(rule.spacing, (facts.expires_at - facts.issued_at) / 2)
    assert found.due_at >= earliest
    if earliest < facts.expires_at <= found.due_at:
        quiet = rule.hours.quiet[facts.channels[0]]
        minutes = [earliest + MINUTE * count for count in range(int((found.due_at - earliest) / MINUTE))]
        assert all(allowed_at(RIGA, quiet, minute) > minute for minute in minutes)


def test_a_link_that_the_night_kept_from_being_replaced_ahead_is_replaced_as_soon_as_the_night_is_over():
    """Its life has its half in the night, and its end five minutes before the night's."""
    rule = replace(RULE, ahead=2 * HOUR, spacing=0 * HOUR, hours=Hours({"email": QuietHours.parse("21:00-08:00")}))
    morning = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)  # 8:00 in Riga
    end = morning - 5 * MINUTE
    facts = replace(FACTS, issued_at=end - 6 * HOUR, expires_at=end, allowed_from=LONG_AGO)
    assert decide(rule, facts, end - HOUR) == Wait(end, Reason.ALIVE)
    assert decide(rule, facts, end) == Reissue(morning)


@given(rules, open_standings, moments)
def test_a_job_lapses_only_when_its_link_is_over(rule, facts, now):
    if isinstance(decide(rule, facts, now), Lapsed):
        assert facts.session is SessionState.EXPIRED or now >= facts.expires_at
