"""When a link is too old to send."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from onboarding_worker.core.rules.contact import is_stale

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FLOOR = timedelta(hours=12)


def test_a_link_with_less_life_than_the_floor_is_stale():
    assert is_stale(NOW + FLOOR - timedelta(microseconds=1), floor=FLOOR, now=NOW)


def test_a_link_with_just_the_floor_is_not():
    assert not is_stale(NOW + FLOOR, floor=FLOOR, now=NOW)


def test_a_dead_link_is_stale_even_without_a_floor():
    assert is_stale(NOW - timedelta(seconds=1), floor=timedelta(0), now=NOW)


def test_expiry_is_compared_across_time_zones():
    berlin = (NOW + FLOOR).astimezone(ZoneInfo("Europe/Berlin"))
    assert not is_stale(berlin, floor=FLOOR, now=NOW)
