"""What the stop of an account says, and what ends it."""

import pytest

from onboarding_worker.core.model.stops import (
    CAP,
    REPEATS,
    SHORT_LINKS,
    is_at_cap,
    reason_of_stop,
    tries_again_by_itself,
    way_out,
)


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ("HTTP 401", "HTTP 401 (the credentials are refused)"),
        ("HTTP 402: pay", "HTTP 402: pay (no credit is left)"),
        ("HTTP 403 no-right: ask", "HTTP 403 no-right: ask"),
        ("HTTP 500", "HTTP 500"),
        ("connection lost", "connection lost"),
    ],
)
def test_a_status_is_explained_where_the_answer_has_no_code_of_its_own(detail, reason):
    assert reason_of_stop(detail) == reason


def test_a_long_answer_is_not_made_longer_than_its_column():
    longest = "HTTP 401".ljust(300, ".")
    assert reason_of_stop(longest) == f"{longest} (the credentials are refused)"
    assert reason_of_stop(longest + ".") == longest + "."


@pytest.mark.parametrize(
    ("reason", "by_itself", "at_cap"),
    [("HTTP 401", True, False), (f"{CAP}3", True, True), (f"{SHORT_LINKS}1 s", False, False), (REPEATS, False, False)],
)
def test_only_a_stop_that_another_try_may_pay_for_waits_for_a_person(reason, by_itself, at_cap):
    assert (tries_again_by_itself(reason), is_at_cap(reason)) == (by_itself, at_cap)
    assert ("credits" in way_out("kyc", reason)) is at_cap
