"""When a session is requested: not before a message could leave, and with a link that is fresh on every channel."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours, allowed_at, issue_at

NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RIGA = ("Europe/Riga",)  # two hours ahead of UTC
NIGHT = QuietHours.parse("21:00-08:00")
MORNING = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def ask(*channels, quiet, max_age=156 * HOUR, now=NOW, zones=RIGA):
    return issue_at(channels, zones, quiet, max_age=max_age, now=now)


def test_a_session_is_requested_when_its_message_may_leave():
    assert ask("sms", quiet={"sms": NIGHT}) == MORNING
    assert ask("email", quiet={"sms": NIGHT}) == NOW
    assert ask("sms", quiet={"sms": NIGHT}, now=MORNING) == MORNING


def test_a_link_that_is_only_fetched_is_requested_at_once():
    assert ask(quiet={"sms": NIGHT, "email": NIGHT}) == NOW


def test_a_customer_in_the_app_gets_the_message_later():
    soon = NOW + 30 * MINUTE
    assert allowed_at(RIGA, NIGHT, soon) == MORNING


def test_with_both_channels_the_first_message_leaves_at_once_if_the_link_keeps_until_the_second():
    assert ask("email", "sms", quiet={"sms": NIGHT}, max_age=8 * HOUR) == NOW


def test_with_both_channels_and_a_short_link_both_wait_for_the_later_one():
    assert ask("email", "sms", quiet={"sms": NIGHT}, max_age=30 * MINUTE) == MORNING - 30 * MINUTE


def test_the_channels_meet_on_the_day_after_where_tonight_is_too_late():
    quiet = {"email": QuietHours.parse("20:00-08:00"), "sms": QuietHours.parse("22:00-18:00")}
    tonight = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
    found = ask("email", "sms", quiet=quiet, max_age=HOUR, now=tonight, zones=("UTC",))
    assert found == datetime(2026, 11, 21, 17, tzinfo=UTC)


def test_channels_that_never_meet_do_not_keep_the_customer_waiting():
    quiet = {"email": QuietHours.parse("09:00-08:00"), "sms": QuietHours.parse("21:00-20:00")}
    assert ask("email", "sms", quiet=quiet, max_age=HOUR) == MORNING


clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 20, 40]))
hours = st.builds(QuietHours, clocks, clocks).filter(lambda quiet: quiet.start != quiet.end)
zones = st.sampled_from([RIGA, ("America/New_York",), ("Asia/Kolkata", "Australia/Perth")])
STEP = 10 * MINUTE


@settings(max_examples=150)
@given(
    hours,
    hours,
    zones,
    st.integers(1, 200),
    st.builds(lambda n: datetime(2026, 3, 7, tzinfo=UTC) + n * STEP, st.integers(0, 700)),
)
def test_it_is_the_first_time_at_which_one_may_send_and_the_other_soon_enough(email, sms, where, steps, now):
    quiet, max_age = {"email": email, "sms": sms}, steps * STEP

    def message_times(moment):
        return [allowed_at(where, quiet[channel], moment) for channel in quiet]

    def suits(moment):
        times = message_times(moment)
        return min(times) == moment and max(times) - moment <= max_age

    two_days = (now + STEP * count for count in range(2 * 24 * 6))
    expected = next((moment for moment in two_days if suits(moment)), min(message_times(now)))
    assert ask("email", "sms", quiet=quiet, max_age=max_age, now=now, zones=where) == expected


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_on_one_channel_the_message_may_leave_the_moment_that_the_session_is_there(channel):
    quiet = {"email": NIGHT, "sms": QuietHours.parse("12:00-14:00")}
    at = ask(channel, quiet=quiet, max_age=timedelta(0))
    assert allowed_at(RIGA, quiet[channel], at) == at


def test_times_are_written_in_the_customers_own_zone_where_its_country_has_one_clock():
    cases = [
        ("Europe/Vilnius", "", "BR", "Europe/Vilnius"),  # the row's own zone outranks everything else
        ("", "", "LT", "Europe/Vilnius"),
        ("", "", "DE", "Europe/Berlin"),  # two zones with one clock
        ("", "+4915112345678", "", "Europe/Berlin"),
        ("", "", "ES", "Asia/Tokyo"),  # the Canary Islands have another clock
        ("", "+14155552671", "US", "America/Los_Angeles"),  # the number says where
        ("", "+4915112345678", "LT", "Asia/Tokyo"),  # the customer may be in either country
        ("", "", "", "Asia/Tokyo"),
        ("Nowhere/At_All", "", "", "Asia/Tokyo"),
    ]
    assert [
        (timezone, phone, country, clock, got)
        for timezone, phone, country, clock in cases
        if (got := Hours(zone="Asia/Tokyo").clock_of(timezone=timezone, phone=phone, country=country)) != clock
    ] == []
