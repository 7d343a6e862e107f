"""Months of the calendar, and the approvals that are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.features.renew.section import after, approved_until, parse_months

TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ((2026, 1, 31), 1, (2026, 2, 28)),
        ((2028, 1, 31), 1, (2028, 2, 29)),
        ((2024, 2, 29), 24, (2026, 2, 28)),
        ((2026, 12, 15), 1, (2027, 1, 15)),
        ((2026, 11, 30), 24, (2028, 11, 30)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(start, months, end):
    assert after(datetime(*start, 9, tzinfo=UTC), months) == datetime(*end, 9, tzinfo=UTC)


@given(TIMES, st.integers(1, 1200), st.integers(-40, 40), st.integers(0, 86_399))
def test_the_approvals_that_are_due_are_all_up_to_one_moment(start, months, days, seconds):
    by = after(start, months) + timedelta(days=days, seconds=seconds)
    assert (after(start, months) <= by) is (start <= approved_until(by, months))


@pytest.mark.parametrize("given", ["24", "0 months", "1 day", "2000 years", "", None, "-1 month", "1e3 months"])
def test_what_is_not_months_is_refused(given):
    with pytest.raises(ValueError, match="24 months"):
        parse_months(given)
