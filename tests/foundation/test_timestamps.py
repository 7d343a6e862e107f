"""A time has one form, wherever it is printed."""

from datetime import UTC, datetime, timedelta, timezone

from worker.foundation.timestamps import written, written_if_any


def test_it_is_utc_to_the_second_with_a_z_whatever_zone_it_is_given_in():
    eastern = timezone(timedelta(hours=2))
    assert written(datetime(2026, 11, 20, 14, 0, 0, 999_999, eastern)) == "2026-11-20T12:00:00Z"
    assert written_if_any(datetime(2026, 11, 20, tzinfo=UTC)) == "2026-11-20T00:00:00Z"
    assert written_if_any(None) is None
