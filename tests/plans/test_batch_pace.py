"""`--per-hour N`: whenever rows ask, and however many workers do, no hour has more than N."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.budgets.batch_pace import HOUR, TOLERANCE, give_places, interval, planned_at

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@given(st.integers(1, 500), st.lists(st.tuples(st.floats(0, 900), st.integers(0, 30)), max_size=60))
def test_no_hour_has_more_than_its_number(per_hour, asks):
    now, next_at, went = NOW, None, []
    for seconds, rows in asks:
        now += timedelta(seconds=seconds)
        places = give_places(per_hour, next_at, [1] * rows, now=now)
        went += [now for again_at in places.again_at if again_at is None]
        next_at = places.next_at
    assert all(sum(begin <= at < begin + HOUR for at in went) <= per_hour for begin in went)


@given(st.integers(1, 3600), st.integers(1, 40))
def test_rows_that_ask_when_they_were_told_to_all_go_in_their_order(per_hour, rows):
    places = give_places(per_hour, None, [1] * rows, now=NOW)
    assert places.again_at[0] is None
    next_at, later = places.next_at, [at for at in places.again_at if at is not None]
    assert later == sorted(later)
    assert (later or [NOW])[-1] == planned_at(per_hour, NOW, rows - 1)
    for at in later:
        again = give_places(per_hour, next_at, [1], now=at)
        assert again.again_at == [None]
        next_at = again.next_at


def test_what_was_planned_goes_at_its_time_and_a_look_that_comes_late_loses_nothing():
    next_at = None
    for index in range(100):
        at = planned_at(3600, NOW, index) + timedelta(seconds=index % 3)
        places = give_places(3600, next_at, [1], now=at)
        assert places.again_at == [None]
        next_at = places.next_at


def test_a_row_with_two_messages_takes_two_places():
    places = give_places(60, None, [2, 1], now=NOW)
    assert places.again_at == [None, NOW + 2 * interval(60)]
    assert interval(60) == (HOUR + TOLERANCE) / 60
