"""Waits grow up to a bound, for any number of failures, and end after the last attempt."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.endings import Backoff

WAITS = st.timedeltas(timedelta(milliseconds=1), timedelta(days=1))
SECONDS = st.integers(1, 86_400)
DOUBLING = st.builds(
    lambda first, most, attempts: Backoff(min(first, most), max(first, most), attempts),
    WAITS,
    WAITS,
    st.none() | st.integers(1, 100),
)
STEPS = st.lists(SECONDS, min_size=1, max_size=10).map(lambda seconds: Backoff.steps(*sorted(seconds)))
BACKOFFS = DOUBLING | STEPS
FAILURES = st.integers(1, 120) | st.integers(1, 10**18)


@given(BACKOFFS, FAILURES)
def test_a_wait_is_never_shorter_than_the_one_before(backoff, failures):
    assert backoff.ceiling(failures) <= backoff.ceiling(failures + 1)


@given(BACKOFFS, FAILURES)
def test_a_wait_lies_between_the_first_and_the_longest_after_any_number_of_failures(backoff, failures):
    assert backoff.first <= backoff.ceiling(failures) <= backoff.most


@given(BACKOFFS, FAILURES, st.floats(0, 1))
def test_there_is_no_wait_once_no_attempt_is_left(backoff, failures, jitter):
    wait = backoff.after(failures, jitter)
    assert (wait is None) == backoff.given_up(failures) == (failures >= (backoff.attempts or failures + 1))
    assert wait is None or timedelta(0) <= wait <= backoff.ceiling(failures)


@given(BACKOFFS)
def test_the_first_failure_waits_for_the_first_wait(backoff):
    assert backoff.ceiling(0) == backoff.ceiling(1) == backoff.first


@given(st.lists(SECONDS, min_size=1, max_size=10))
def test_explicit_steps_are_waited_for_in_their_order_then_given_up(seconds):
    backoff = Backoff.steps(*seconds)
    waits = [backoff.after(failures) for failures in range(1, len(seconds) + 2)]
    assert waits == [*(timedelta(seconds=each) for each in seconds), None]


def test_each_wait_is_twice_the_one_before_until_the_longest():
    backoff = Backoff(timedelta(seconds=3), timedelta(seconds=20), attempts=6)
    waits = [backoff.after(failures) for failures in range(1, 7)]
    assert waits == [*(timedelta(seconds=seconds) for seconds in (3, 6, 12, 20, 20)), None]
