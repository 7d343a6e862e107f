"""What a sender's later reports show: losses in a row that are about us stop it."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.stops import REPORTS, About, tries_again_by_itself
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.core.rules.call_outcomes import Report, after_reports
from tests.core.rules.call_outcomes import MINUTE, NOW, WELL, call_outcome, with_outcomes

US, UNKNOWN, ARRIVED = About.US, About.UNKNOWN, None


def after(*abouts, state=WELL, by_mail=False, sent_at=NOW):
    return after_reports(state, [Report(about, sent_at, "30034: no") for about in abouts], by_mail=by_mail, now=NOW)


def test_five_losses_in_a_row_that_are_about_us_stop_the_sender_with_the_words_of_the_last():
    assert after(*[US] * 4).stopped_at is None
    state = after(*[US] * 5)
    assert (state.stopped_at, state.stop_reason) == (NOW, f"{REPORTS}30034: no")
    assert state.asks_again_at is None
    assert not tries_again_by_itself(state.stop_reason)


def test_twenty_codes_of_no_known_meaning_stop_it_too_and_both_add_up():
    assert after(*[UNKNOWN] * 19).stopped_at is None
    assert after(*[UNKNOWN] * 20).stopped_at == NOW
    assert after(*[UNKNOWN] * 4, *[US] * 4).stopped_at == NOW


def test_a_delivery_ends_the_row_and_a_wrong_address_does_not():
    assert after(*[US] * 4, ARRIVED, *[US] * 4).stopped_at is None
    assert after(*[US] * 4, About.ADDRESS, About.CUSTOMER, About.WAY, US).stopped_at == NOW


@given(st.lists(st.sampled_from([ARRIVED, About.ADDRESS, About.CUSTOMER, About.WAY]), max_size=60))
def test_no_number_of_other_losses_stops_it(abouts):
    assert after(*abouts).stopped_at is None


def test_losses_of_different_days_are_no_row():
    state = after(*[US] * 4)
    later = NOW + timedelta(days=1, seconds=1)
    assert after(*[US] * 4, state=state, sent_at=later).stopped_at is None
    assert after(*[US] * 5, state=state, sent_at=later).stopped_at == NOW


def test_what_left_before_a_person_resumed_it_says_nothing():
    state = replace(WELL, lost_since=NOW)
    assert after(*[US] * 9, state=state, sent_at=NOW - MINUTE) == state
    assert after(*[US] * 5, state=state).stopped_at == NOW


def test_a_mail_service_that_reports_no_deliveries_stops_nothing():
    assert after(*[US] * 9, by_mail=True) == WELL
    assert after(ARRIVED, *[US] * 5, by_mail=True).stopped_at == NOW


def test_neither_an_answer_nor_a_refusal_of_a_call_in_flight_ends_or_changes_the_stop():
    stopped = after(*[US] * 5)
    for kind in (Kind.AUTH, Kind.OUT_OF_CREDIT):
        refused = with_outcomes(stopped, call_outcome(NOW + MINUTE, kind, "HTTP 401"))
        assert (refused.stop_reason, refused.asks_again_at) == (stopped.stop_reason, None)
    assert with_outcomes(stopped, call_outcome(NOW + MINUTE)).stopped_at == NOW


def test_a_stop_that_a_call_would_end_becomes_one_that_a_person_ends():
    asked = with_outcomes(BudgetState(), call_outcome(NOW, Kind.AUTH, "HTTP 401"))
    assert asked.asks_again_at is not None
    state = after(*[US] * 5, state=asked)
    assert (state.asks_again_at, state.stop_reason.startswith(REPORTS)) == (None, True)
