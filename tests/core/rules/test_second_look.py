"""Whom a refusal is about, by what the account's other calls got."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.rules.call_outcomes import SecondLook, Subject, Try, shared_words, subject_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OURS = Try("ours", NOW, succeeded=False)
LAST_TRIES, LONGEST_LOOK = 20, timedelta(minutes=1)
MOST_ROWS, MOST_SAID = 10_000, 100


def after(seconds, row, *, succeeded):
    return Try(row, NOW + seconds * SECOND, succeeded=succeeded)


def judged(*tries, at=SECOND):
    return subject_of("ours", NOW, [*tries, OURS] if not tries or tries[-1].row != "ours" else tries, now=NOW + at)


def test_a_first_refusal_is_open_whatever_others_got_before_it():
    assert judged() is Subject.OPEN
    assert judged(OURS, after(0, "sent", succeeded=True)) is Subject.OPEN
    assert judged(*(after(-1, f"sent{number}", succeeded=True) for number in range(30))) is Subject.OPEN


def test_it_is_about_the_row_where_most_others_have_succeeded_since():
    assert judged(OURS, after(1, "a", succeeded=True), after(2, "b", succeeded=True)) is Subject.ROW
    assert judged(OURS, after(1, "a", succeeded=True), after(2, "b", succeeded=False)) is Subject.OPEN
    again = [after(2, "ours", succeeded=False), after(3, "ours", succeeded=False)]
    assert judged(OURS, after(1, "a", succeeded=True), *again) is Subject.ROW


def test_it_is_about_us_where_none_of_the_last_tries_succeeded():
    refused = [after(number / 100, f"row{number}", succeeded=False) for number in range(LAST_TRIES)]
    before = [after(-1, "sent", succeeded=True)]
    assert judged(*before, *refused[:-2]) is Subject.OPEN
    assert judged(*before, *refused[:-1]) is Subject.US


def test_it_is_about_us_where_nobody_has_succeeded_for_a_minute():
    tries = [after(-90, "sent", succeeded=True), OURS, after(1, "other", succeeded=False)]
    assert judged(*tries, at=LONGEST_LOOK - SECOND) is Subject.OPEN
    assert judged(*tries, at=LONGEST_LOOK) is Subject.US


def test_a_row_alone_is_looked_at_for_a_minute_and_then_is_what_its_code_says():
    again = [OURS, after(5, "ours", succeeded=False), after(15, "ours", succeeded=False)]
    assert judged(*again, at=LONGEST_LOOK - SECOND) is Subject.OPEN
    assert judged(*again, at=LONGEST_LOOK) is Subject.AS_ITS_CODE
    assert judged(after(-1, "a", succeeded=True), *again, at=LONGEST_LOOK) is Subject.ROW


def test_where_some_others_succeed_and_some_do_not_it_is_about_the_row_after_a_minute():
    mixed = [OURS, after(1, "a", succeeded=True), after(2, "b", succeeded=False), after(3, "c", succeeded=False)]
    assert judged(*mixed, at=30 * SECOND) is Subject.OPEN
    assert judged(*mixed, at=LONGEST_LOOK) is Subject.ROW


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-100, 100), st.booleans()), max_size=40), st.integers(0, 200))
def test_no_row_is_open_for_longer_than_a_minute_and_us_needs_a_minute_or_tries_without_a_success(tries, seconds):
    given_tries = sorted((after(at, row, succeeded=ok) for row, at, ok in tries), key=lambda one: one.began_at)
    found = subject_of(0, NOW, given_tries, now=NOW + seconds * SECOND)
    if seconds >= LONGEST_LOOK.total_seconds():
        assert found is not Subject.OPEN
    if found is Subject.US:
        last = given_tries[-LAST_TRIES:]
        newest = max((one.began_at for one in last if one.succeeded), default=None)
        assert newest is None or NOW + seconds * SECOND - newest >= LONGEST_LOOK


def test_of_what_two_customers_were_told_only_the_same_beginning_is_shown(subtests):
    for one, other, shared in [
        ("Maximum credits exceeded", "Maximum credits exceeded", "Maximum credits exceeded"),
        ("Limit exceeded. x3-2002 - gsmtp", "Limit exceeded. y9-1881 - gsmtp", "Limit exceeded."),
        ("Ona is unknown", "Jonas is unknown", ""),
        ("User Ona is unknown", "User Jonas is unknown", ""),
        ("", "", ""),
    ]:
        with subtests.test(one=one, other=other, shared=shared):
            assert shared_words(one, other) == shared


FULL = Problem(Kind.BAD_INPUT, "SMTP 554", retry_after=SECOND, address=AddressIs.REFUSED, unclear=True)


def looked(look, problem=FULL, *, row="ours", at=0):
    """What the refusal of this row is, so many seconds after noon."""
    now = NOW + at * SECOND
    return look.judged(row, now, problem, now=now)


def test_a_row_alone_is_looked_at_less_and_less_often_and_is_then_what_its_code_says():
    look = SecondLook()
    for at, wait in [(0, 5), (5, 10), (15, 20), (35, 30), (59.9, 30)]:
        again = replace(FULL, kind=Kind.UNCLEAR, retry_after=wait * SECOND, address=None)
        assert looked(look, at=at) == again
    assert looked(look, at=60) == FULL


LOOK_AGAIN = {"retry_after": 10 * SECOND}


def refused_by_all(look):
    looked(look, row="other")
    looked(look)


def refused_alone(look):
    looked(look)


def refused_among_successes(look):
    looked(look)
    look.succeeded("other", NOW + SECOND)


@pytest.mark.parametrize(
    ("before", "kind", "changes"),
    [
        (refused_by_all, Kind.BAD_INPUT, {"kind": Kind.AUTH, "address": None, **LOOK_AGAIN}),
        (refused_by_all, Kind.AUTH, {"address": None, **LOOK_AGAIN}),
        (refused_by_all, Kind.TRANSIENT, {"kind": Kind.RATE_LIMITED, "address": None, "retry_after": None}),
        (refused_by_all, Kind.RATE_LIMITED, {"address": None, "retry_after": None}),
        (refused_by_all, Kind.OUT_OF_CREDIT, {"address": None}),
        (refused_alone, Kind.BAD_INPUT, {}),
        (refused_alone, Kind.AUTH, LOOK_AGAIN),
        (refused_alone, Kind.TRANSIENT, {}),
        (refused_alone, Kind.RATE_LIMITED, {"retry_after": None}),
        (refused_among_successes, Kind.BAD_INPUT, {}),
        (refused_among_successes, Kind.AUTH, {"kind": Kind.BAD_INPUT}),
        (refused_among_successes, Kind.TRANSIENT, {}),
        (refused_among_successes, Kind.RATE_LIMITED, {}),
    ],
)
def test_what_a_refusal_is_once_it_is_known_whom_it_is_about(before, kind, changes):
    look = SecondLook()
    before(look)
    problem = replace(FULL, kind=kind)
    assert looked(look, problem, at=60) == replace(problem, **changes)


def test_a_row_that_succeeded_is_looked_at_anew():
    look = SecondLook()
    assert looked(look).retry_after == 5 * SECOND
    look.succeeded("ours", NOW + SECOND)
    again = looked(look, at=90)
    assert (again.kind, again.retry_after) == (Kind.UNCLEAR, 5 * SECOND)


@pytest.mark.parametrize("problem", [replace(FULL, unclear=False), replace(FULL, unreachable=True)])
def test_a_refusal_that_is_clear_or_no_answer_at_all_stays_what_it_is_and_says_nothing_about_others(problem):
    look = SecondLook()
    looked(look)
    for number in range(LAST_TRIES):
        assert looked(look, problem, row=number, at=number) == problem
    assert looked(look, at=60) == FULL  # it was refused alone


def test_the_row_that_was_refused_first_is_forgotten_where_there_are_too_many():
    look, refused = SecondLook(), replace(FULL, kind=Kind.AUTH)
    for row in range(MOST_ROWS):
        looked(look, refused, row=row)
    assert looked(look, refused, row=0).retry_after == 10 * SECOND
    looked(look, refused, row="one more")
    assert looked(look, refused, row=1).retry_after == 10 * SECOND
    assert looked(look, refused, row=0).retry_after == 5 * SECOND


def told(look, row, words, detail="HTTP 402", kind=Kind.OUT_OF_CREDIT):
    return looked(look, Problem(kind, detail, words=words), row=row).detail


def test_the_words_of_a_stop_are_shown_once_two_rows_got_them():
    look = SecondLook()
    assert told(look, 1, "No credit is left, Ona") == "HTTP 402"
    assert told(look, 1, "No credit is left, Ona") == "HTTP 402"
    assert told(look, 2, "No credit is left, Jonas").endswith(": No credit is left,")
    assert told(look, 1, "No credit for you").endswith(": No credit")
    assert told(look, 2, "") == "HTTP 402"
    assert told(look, 3, "No credit").endswith(": No credit")
    assert told(look, 3, "Too much", "HTTP 429") == "HTTP 429"


def test_words_that_two_rows_do_not_share_are_compared_with_those_of_the_next_row():
    look = SecondLook()
    assert [told(look, row, words) for row, words in enumerate(["Ona has none", "You have none"])] == ["HTTP 402"] * 2
    assert told(look, 1, "You have none") == "HTTP 402"
    assert told(look, 2, "You have few").endswith(": You have")


def test_words_are_shown_only_where_the_account_is_concerned():
    look = SecondLook()
    for row in range(3):
        assert told(look, row, "Ona is not known", kind=Kind.BAD_INPUT) == "HTTP 402"
    assert told(look, 3, "Ona is not known").endswith(": Ona is not known")


@pytest.mark.parametrize(("known", "shown"), [(MOST_SAID, True), (MOST_SAID + 1, False)])
def test_words_are_kept_of_so_many_refusals_and_then_of_none(known, shown):
    look = SecondLook()
    for number in range(known):
        told(look, "ours", "No credit is left", f"HTTP {number}")
    assert told(look, "other", "No credit is left", "HTTP 0").endswith("left") is shown


def test_a_refusal_as_old_as_a_success_or_older_is_not_counted_with_those_after_it():
    same = [after(0, "sent", succeeded=True), after(0, "a", succeeded=False)]
    assert judged(*same, after(1, "ours", succeeded=False), at=LONGEST_LOOK) is Subject.ROW
    assert judged(*same, after(1, "b", succeeded=False), OURS, at=LONGEST_LOOK) is Subject.ROW
    later = [after(-1, "sent", succeeded=True), after(0, "a", succeeded=False)]
    assert judged(*later, after(0.5, "ours", succeeded=False), at=LONGEST_LOOK) is Subject.US


def test_successes_whose_answers_came_in_another_order_than_their_calls_are_no_refusals():
    succeeded = [after(5, "sent", succeeded=True), after(3, "sent too", succeeded=True)]
    refused = [after(6, row, succeeded=False) for row in ("a", "b", "ours")]
    assert judged(*succeeded, *refused, at=LONGEST_LOOK + 5.5 * SECOND) is Subject.ROW
    assert judged(*succeeded, *refused, at=LONGEST_LOOK + 6 * SECOND) is Subject.US
