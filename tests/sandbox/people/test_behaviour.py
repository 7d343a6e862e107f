"""The behaviour of the simulated customers, and how it is drawn."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_sandbox.options import CUSTOMERS, Chance, Share, shares, span, span_or_range, trouble_share
from onboarding_sandbox.people.plans import steps
from onboarding_sandbox.wire import FRANKIEONE_V1, FRANKIEONE_V2, IDENFY_KYB, IDENFY_KYC

KNOWN = list(CUSTOMERS)
MINUTES = timedelta(minutes=5)


def test_shares_are_read_in_their_order():
    assert shares("finish:0.6, deny:.1,never:0.3", KNOWN) == (
        Share("finish", 0.6),
        Share("deny", 0.1),
        Share("never", 0.3),
    )


def test_invalid_shares_are_refused_with_what_is_expected(subtests):
    for text in [
        "",
        "finish",
        "finish:2",
        "finish:x",
        "dance:0.5",
        "finish:0.6,deny:0.6",
        "finish:-1",
        "finish:0.1;deny:0.1",
    ]:
        with subtests.test(text=text), pytest.raises(ValueError, match=r"shares|more than 1"):
            shares(text, KNOWN)


def test_times_are_read():
    cases = [("80ms", 0.08), ("10s", 10), ("1.5m", 90), ("2h", 7200), ("7 d", 604800)]
    assert [(text, got) for text, seconds in cases if (got := span(text)) != timedelta(seconds=seconds)] == []


def test_invalid_times_are_refused_with_what_is_expected(subtests):
    for text in ["", "10", "-1s", "1w", "9" * 12 + "d", "²s"]:
        with subtests.test(text=text), pytest.raises(ValueError, match="expected a time"):
            span(text)


def test_a_time_may_be_a_range():
    assert span_or_range("1m") == (timedelta(minutes=1), timedelta(minutes=1))
    assert span_or_range("10s..2h") == (timedelta(seconds=10), timedelta(hours=2))
    with pytest.raises(ValueError, match="shorter"):
        span_or_range("2h..10s")


def test_troubles_are_read():
    assert trouble_share("late:0.1,by=2h") == Share("late", 0.1, timedelta(hours=2))
    assert trouble_share("twice:1") == Share("twice", 1.0)


def test_invalid_troubles_are_refused_with_what_is_expected(subtests):
    for text in ["late", "late:0.1,by=soon", "twice:0.1,by=1h", "lost:0.1", "twice:0.1,late:0.1", "late:0.1,at=1h"]:
        with subtests.test(text=text), pytest.raises(ValueError, match="expected"):
            trouble_share(text)


def test_each_customer_does_the_same_again_in_any_order_of_arrival():
    among = shares("finish:0.5,deny:0.2", KNOWN)
    customers = [f"c-{number}" for number in range(50)]
    drawn = {name: Chance(7, name, 1).of(among, "never") for name in customers}
    again = {name: Chance(7, name, 1).of(among, "never") for name in reversed(customers)}
    assert drawn == again
    assert {name: Chance(8, name, 1).of(among, "never") for name in customers} != drawn
    assert set(drawn.values()) == {"finish", "deny", "never"}


def test_behaviours_come_in_their_shares():
    among = shares("finish:0.6,deny:0.1", KNOWN)
    drawn = Counter(Chance(7, number).of(among, "never") for number in range(4000))
    assert abs(drawn["finish"] - 2400) < 160
    assert abs(drawn["deny"] - 400) < 100


def test_a_time_is_drawn_between_the_two():
    drawn = [Chance(7, number).between(timedelta(0), MINUTES) for number in range(200)]
    assert timedelta(0) <= min(drawn) < timedelta(minutes=1)
    assert timedelta(minutes=4) < max(drawn) <= MINUTES


def test_one_session_may_have_several_troubles():
    trouble = Chance(7, "any").trouble([Share("late", 1, MINUTES), Share("twice", 1), Share("forged", 0)])
    assert (trouble.late, trouble.twice, trouble.swapped, trouble.forged) == (MINUTES, True, False, False)
    assert trouble.word == "late,twice"


AUTO, MANUAL = "IDENTIFICATION_AUTO_FINISHED", "IDENTIFICATION_MANUAL_FINISHED"
EVENTS = {
    (IDENFY_KYC, "finish"): [AUTO],
    (IDENFY_KYC, "deny"): [AUTO],
    (IDENFY_KYC, "suspect"): [AUTO],
    (IDENFY_KYC, "review"): [AUTO, MANUAL],
    (IDENFY_KYC, "review-deny"): [AUTO, MANUAL],
    (IDENFY_KYC, "fail"): ["IDENTIFICATION_CANCELLED"],
    (IDENFY_KYC, "open"): ["IDENTIFICATION_EXPIRED"],
    (IDENFY_KYC, "expire"): ["IDENTIFICATION_EXPIRED"],
    (IDENFY_KYB, "finish"): ["COMPANY_SUBMIT", "COMPANY_REVIEW"],
    (IDENFY_KYB, "ask"): ["COMPANY_SUBMIT", "COMPANY_INFO_REQUEST", "COMPANY_REVIEW"],
    (IDENFY_KYB, "review"): ["COMPANY_SUBMIT", "COMPANY_REVIEW", "COMPANY_REVIEW"],
    (IDENFY_KYB, "expire"): ["COMPANY_INFO_REQUEST"],
    (FRANKIEONE_V2, "finish"): ["OCR_PROCESSED", "RESULTS_RETRIEVED"],
    (FRANKIEONE_V2, "fail"): ["OCR_PROCESSED", "RESULTS_RETRIEVED"],
    (FRANKIEONE_V1, "deny"): ["OCR_PROCESSED", "RESULTS_RETRIEVED"],
    (FRANKIEONE_V2, "expire"): [],
    **{(endpoint, "never"): [] for endpoint in (IDENFY_KYC, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2)},
}


def test_each_behaviour_has_its_events(subtests):
    for asked, events in EVENTS.items():
        with subtests.test(asked=asked, events=events):
            endpoint, does = asked
            assert [step.event for step in steps(endpoint, does, review=MINUTES, edition="current")] == events


@pytest.mark.parametrize(
    ("edition", "events"),
    [("idv", ["IDVOCRProcessing", "IDVResultsRetrieved"]), ("v2.0.0", ["OCR_PROCESSED", "RESULTS_ERROR"])],
)
def test_frankieone_names_them_by_its_edition(edition, events):
    does = "fail" if edition == "v2.0.0" else "finish"
    assert [step.event for step in steps(FRANKIEONE_V2, does, review=MINUTES, edition=edition)] == events


@settings(max_examples=40)
@given(st.sampled_from([IDENFY_KYC, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2]), st.sampled_from(KNOWN))
def test_a_review_takes_no_longer_than_configured(endpoint, does):
    assert (
        sum((step.after for step in steps(endpoint, does, review=MINUTES, edition="current")), timedelta(0)) <= MINUTES
    )
