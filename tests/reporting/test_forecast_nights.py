"""A forecast with nights in which nothing is sent."""

from datetime import UTC, datetime, timedelta
from functools import partial

from worker.core.messages.quiet_hours import QuietHours, allowed_at
from worker.reporting.forecast import through_nights

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
awake = partial(allowed_at, ("UTC",), QuietHours.parse("21:00-08:00"))


def test_work_that_is_not_done_before_the_night_is_done_after_it():
    assert through_nights(2 * HOUR, awake, now=NOON) == NOON + 2 * HOUR
    assert through_nights(10 * HOUR, awake, now=NOON) == NOON + 21 * HOUR
    assert through_nights(23 * HOUR, awake, now=NOON) == NOON + 45 * HOUR  # nine, thirteen, and one on the third day
    assert through_nights(timedelta(minutes=1), awake, now=NOON + 10 * HOUR) == NOON + 20 * HOUR + HOUR / 60


def test_a_forecast_of_endless_work_stops_after_a_year_of_work():
    assert through_nights(timedelta(days=9999), awake, now=NOON) > NOON + timedelta(days=366)
