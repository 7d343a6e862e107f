"""Quiet hours: `allowed_at` agrees with the wall clock of each zone, minute by minute."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.quiet_hours import QuietHours, allowed_at, leaves_by

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NIGHT = QuietHours.parse("21:00-08:00")
# Offsets of :30 and :45, a change of half an hour, both hemispheres, changes at midnight, before 0:00 UTC, none at all.
ZONES = (
    "Africa/Cairo",
    "America/Adak",
    "America/Caracas",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Eucla",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "UTC",
)


def changes(zone: str, year: int) -> list[datetime]:
    """The hours, in UTC, in which the zone changes its clock."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    offset, found = of(zone, at), []
    while at.year == year:
        if of(zone, at + DAY) == offset:  # none changes it and changes it back within a day
            at += DAY
            continue
        at += HOUR
        if of(zone, at) != offset:
            offset = of(zone, at)
            found.append(at)
    return found


def of(zone: str, moment: datetime) -> timedelta | None:
    return moment.astimezone(ZoneInfo(zone)).utcoffset()


CHANGES = sorted({moment for zone in ZONES for moment in changes(zone, 2026)})

clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
hours = st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: QuietHours(*pair))
near_changes = st.builds(
    lambda change, minutes: change + MINUTE * minutes, st.sampled_from(CHANGES), st.integers(-3 * 24 * 60, 24 * 60)
)
anywhen = st.builds(lambda minutes: datetime(2025, 1, 1, tzinfo=UTC) + MINUTE * minutes, st.integers(0, 3 * 525_600))
moments = st.one_of(near_changes, anywhen)


def is_quiet(quiet: QuietHours, zone: str, moment: datetime) -> bool:
    wall = moment.astimezone(ZoneInfo(zone)).time()
    if quiet.start < quiet.end:
        return quiet.start <= wall < quiet.end
    return wall >= quiet.start or wall < quiet.end


def by_the_clock(zones, quiet, now, step=MINUTE):
    """The same question, asked of the clocks, one minute after the other."""

    def asleep(moment):
        return sum(is_quiet(quiet, zone, moment) for zone in zones)

    for count in range(2 * DAY // step):
        if not any(is_quiet(quiet, zone, now + step * count) for zone in zones):
            return now + step * count
    return min((now + step * count for count in range(DAY // step)), key=asleep)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True), hours, moments)
def test_it_is_the_first_minute_that_suits_all_zones_around_changes_of_the_clock_too(zones, quiet, now):
    assert allowed_at(tuple(sorted(zones)), quiet, now) == by_the_clock(zones, quiet, now)


QUARTER = 15 * MINUTE  # all that these zones and hours are made of
quarters = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
quarter_hours = st.builds(QuietHours, quarters, quarters).filter(lambda quiet: quiet.start != quiet.end)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(ZONES), min_size=4, max_size=10, unique=True),
    quarter_hours,
    st.sampled_from(CHANGES),
    st.integers(-200, 100),
)
def test_where_no_hour_suits_all_zones_it_is_the_one_that_disturbs_the_fewest(zones, quiet, change, ahead):
    now = change + QUARTER * ahead
    assert allowed_at(tuple(sorted(zones)), quiet, now) == by_the_clock(zones, quiet, now, QUARTER)


def test_a_clock_that_is_set_back_out_of_quiet_hours_lets_messages_leave_at_once():
    set_back = datetime(2026, 11, 1, 6, tzinfo=UTC)  # to 01:00
    quiet = QuietHours.parse("01:30-08:00")
    assert allowed_at(("America/New_York",), quiet, set_back - 15 * MINUTE) == set_back


@given(st.lists(st.sampled_from(ZONES), max_size=8, unique=True), hours, moments, st.timedeltas(MINUTE * 0, MINUTE))
def test_it_is_never_in_the_past_and_less_than_two_days_ahead(zones, quiet, now, more):
    now += more
    assert now <= allowed_at(tuple(sorted(zones)), quiet, now) < now + 2 * DAY


@given(st.sampled_from(ZONES), hours, moments, st.timedeltas(timedelta(0), MINUTE))
def test_the_microsecond_before_is_quiet(zone, quiet, now, more):
    now += more
    at = allowed_at((zone,), quiet, now)
    assert at == now or is_quiet(quiet, zone, at - timedelta(microseconds=1))


@given(st.sampled_from(ZONES), hours, moments)
def test_at_the_time_that_it_names_it_says_now(zone, quiet, now):
    at = allowed_at((zone,), quiet, now)
    assert allowed_at((zone,), quiet, at) == at


@given(st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True), quarter_hours, near_changes)
def test_the_last_message_before_an_end_leaves_before_the_quiet_hours_in_which_it_lies(zones, quiet, end):
    zones = tuple(sorted(zones))
    last = leaves_by(("email",), zones, {"email": quiet}, end)
    assert end - 2 * DAY <= last <= end
    from_then = [last + QUARTER * count for count in range(-((last - end) // QUARTER))]
    assert all(any(is_quiet(quiet, zone, at) for zone in zones) for at in from_then)
    if last < end or allowed_at(zones, quiet, end) == end:
        assert last == end or not any(is_quiet(quiet, zone, last - MINUTE) for zone in zones)


def test_of_two_channels_the_one_that_is_quiet_first_has_the_last_word():
    end = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
    quiet = {"sms": QuietHours.parse("20:00-08:00"), "email": NIGHT}
    for channels, hour in ((("email",), 21), (("sms",), 20), (("email", "sms"), 20)):
        assert leaves_by(channels, ("UTC",), quiet, end) == datetime(2026, 11, 20, hour, 0, tzinfo=UTC)
    assert leaves_by((), ("UTC",), quiet, end) == leaves_by(("whatsapp",), ("UTC",), quiet, end) == end


def test_before_the_end_of_a_night_the_last_message_leaves_before_that_night():
    night_ends = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert leaves_by(("email",), ("UTC",), {"email": NIGHT}, night_ends) == night_ends - 11 * HOUR


def test_a_night_ends_at_eight_by_the_customers_clock(subtests):
    cases = [
        ("Europe/Vilnius", "2026-11-20T12:00", "2026-11-20T12:00"),
        ("Europe/Vilnius", "2026-11-20T19:00", "2026-11-21T06:00"),
        ("Europe/Vilnius", "2026-11-20T18:59", "2026-11-20T18:59"),
        ("Europe/Vilnius", "2026-11-20T05:59", "2026-11-20T06:00"),
        # the night that is an hour shorter, and the one that is an hour longer
        ("Europe/Berlin", "2026-03-28T20:00", "2026-03-29T06:00"),
        ("Europe/Berlin", "2026-10-24T20:00", "2026-10-25T07:00"),
        ("Asia/Kathmandu", "2026-11-20T20:00", "2026-11-21T02:15"),
    ]
    for zone, now, expected in cases:
        with subtests.test(zone=zone, now=now, expected=expected):
            now, expected = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, expected))
            assert allowed_at((zone,), NIGHT, now) == expected


def test_quiet_hours_that_begin_and_end_in_an_hour_that_does_not_exist_are_not_kept():
    quiet = QuietHours.parse("02:10-02:50")
    night = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert [allowed_at(("Europe/Berlin",), quiet, night + MINUTE * ahead) - night for ahead in (0, 30, 45)] == [
        MINUTE * 0,
        MINUTE * 30,
        MINUTE * 45,
    ]


def test_an_hour_that_comes_twice_is_quiet_twice():
    quiet = QuietHours.parse("02:10-02:50")
    first, second = datetime(2026, 10, 25, 0, 10, tzinfo=UTC), datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert allowed_at(("Europe/Berlin",), quiet, first) == first + 40 * MINUTE
    assert allowed_at(("Europe/Berlin",), quiet, first + 45 * MINUTE) == first + 45 * MINUTE
    assert allowed_at(("Europe/Berlin",), quiet, second) == second + 40 * MINUTE


def test_a_country_across_many_hours_is_written_to_while_all_of_it_is_awake():
    zones = ("America/New_York", "Pacific/Honolulu")
    assert allowed_at(zones, NIGHT, datetime(2026, 11, 20, 13, tzinfo=UTC)) == datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert allowed_at(zones, NIGHT, datetime(2026, 11, 21, 2, tzinfo=UTC)) == datetime(2026, 11, 21, 18, tzinfo=UTC)


def test_the_one_hour_of_a_day_is_waited_for_even_where_the_clock_puts_it_off_by_more_than_a_day():
    half_an_hour_a_day = QuietHours.parse("19:30-19:00")
    just_over = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    assert allowed_at(("America/New_York",), half_an_hour_a_day, just_over) == datetime(2026, 11, 2, tzinfo=UTC)


def test_where_no_hour_suits_all_a_better_one_of_a_later_day_is_not_waited_for():
    # Tomorrow night, after the change, Berlin and Lagos have midnight together.
    hour_after_midnight = QuietHours.parse("01:00-00:00")
    zones = ("Africa/Lagos", "Asia/Tokyo", "Europe/Berlin")
    now = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert allowed_at(zones, hour_after_midnight, now) == now + 3 * HOUR


def test_without_quiet_hours_or_zones_it_is_now():
    now = datetime(2026, 11, 20, 2, tzinfo=UTC)
    assert allowed_at(("Europe/Berlin",), None, now) is now
    assert allowed_at((), NIGHT, now) is now


def test_a_time_of_another_zone_is_the_same_time():
    now = datetime(2026, 11, 20, 22, tzinfo=ZoneInfo("Europe/Berlin"))
    assert allowed_at(("Europe/Berlin",), NIGHT, now) == datetime(2026, 11, 21, 7, tzinfo=UTC)


def test_a_naive_time_and_an_unknown_zone_are_refused():
    with pytest.raises(ValueError, match="aware"):
        allowed_at(("UTC",), NIGHT, datetime(2026, 11, 20))  # noqa: DTZ001
    with pytest.raises(ZoneInfoNotFoundError):
        allowed_at(("Europe/Nowhere",), NIGHT, datetime(2026, 11, 20, tzinfo=UTC))
