"""A time has one form, wherever it is printed; one that others wrote is read as UTC."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import utc_time, written, written_if_any


def test_it_is_utc_to_the_second_with_a_z_whatever_zone_it_is_given_in():
    eastern = timezone(timedelta(hours=2))
    assert written(datetime(2026, 11, 20, 14, 0, 0, 999_999, eastern)) == "2026-11-20T12:00:00Z"
    assert written_if_any(datetime(2026, 11, 20, tzinfo=UTC)) == "2026-11-20T00:00:00Z"
    assert written_if_any(None) is None


def test_a_time_is_read_as_utc_and_one_without_an_offset_is_utc(subtests):
    cases = [
        ("2027-02-03T04:35:00Z", datetime(2027, 2, 3, 4, 35, tzinfo=UTC)),
        ("2027-02-03T04:35:00.000Z", datetime(2027, 2, 3, 4, 35, tzinfo=UTC)),
        ("2027-02-03T04:35:00.123456789Z", datetime(2027, 2, 3, 4, 35, 0, 123456, tzinfo=UTC)),
        ("2027-02-03T14:35:00+10:00", datetime(2027, 2, 3, 4, 35, tzinfo=UTC)),
        ("2027-02-03T04:35:00", datetime(2027, 2, 3, 4, 35, tzinfo=UTC)),
        ("2027-02-03 04:35", datetime(2027, 2, 3, 4, 35, tzinfo=UTC)),
    ]
    for value, time in cases:
        with subtests.test(value=value):
            assert utc_time(value) == time
            assert utc_time(value).tzinfo is UTC


def test_what_is_no_time_is_none():
    cases = [
        None,
        True,
        1_764_000_000,
        "1764000000",
        "2027-02-03",
        "soon",
        "",
        "2027-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ]
    assert [(value, got) for value in cases if (got := utc_time(value)) is not None] == []


@given(st.one_of(st.text(), st.integers(), st.none(), st.datetimes().map(str), st.datetimes().map(datetime.isoformat)))
def test_whatever_a_time_is_it_is_none_or_utc(value):
    time = utc_time(value)

    assert time is None or time.utcoffset() == timedelta(0)
