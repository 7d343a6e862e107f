"""Whom a refusal is about, by what the account's other calls got."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.core.limits.call_outcomes import LAST_TRIES, LONGEST_LOOK, Subject, Try, shared_words, subject_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OURS = Try("ours", NOW, succeeded=False)


def after(seconds, row, *, succeeded):
    return Try(row, NOW + seconds * SECOND, succeeded=succeeded)


def judged(*tries, at=SECOND):
    return subject_of("ours", NOW, [*tries, OURS] if not tries or tries[-1].row != "ours" else tries, now=NOW + at)


def test_a_first_refusal_is_open_whatever_others_got_before_it():
    assert judged() is Subject.OPEN
    assert judged(*(after(-1, f"sent{number}", succeeded=True) for number in range(30))) is Subject.OPEN


def test_it_is_about_the_row_where_most_others_have_succeeded_since():
    assert judged(OURS, after(1, "a", succeeded=True), after(2, "b", succeeded=True)) is Subject.ROW
    assert judged(OURS, after(1, "a", succeeded=True), after(2, "b", succeeded=False)) is Subject.OPEN


def test_it_is_about_us_where_none_of_the_last_tries_succeeded():
    refused = [after(number / 100, f"row{number}", succeeded=False) for number in range(LAST_TRIES)]
    before = [after(-1, "sent", succeeded=True)]
    assert judged(*before, *refused[:-2]) is Subject.OPEN
    assert judged(*before, *refused) is Subject.US


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
