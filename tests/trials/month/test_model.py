"""The model of the month, checked by hand: each behaviour's story is simple enough to count."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trials.month.model import (
    DAY,
    ENDPOINTS,
    HOUR,
    MINUTE,
    OF_EACH_LINK,
    Behaviour,
    Customer,
    Endpoint,
    Rules,
    population,
    story_of,
    totals,
)

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEEK = Endpoint("week", 7 * DAY, 12 * HOUR)
HOURS = Endpoint("hours", HOUR, 30 * MINUTE)
WAKING = Rules(quiet=None)


def lived(behaviour, endpoint=WEEK, rules=WAKING, *, until=30 * DAY, start=START, fallback=False, **customer):
    customer = Customer(1, endpoint, behaviour, **customer)
    return story_of(customer, rules, start=start, until=start + until, fallback=fallback)


def days(times):
    return [(time - START) / DAY for time in times]


@pytest.mark.parametrize(
    ("behaviour", "sessions", "reminders", "ending"),
    [
        (Behaviour.AT_ONCE, [0], [], ("completed", "approved")),
        (Behaviour.DENIED, [0], [], ("completed", "denied")),
        (Behaviour.REVIEWED, [0], [], ("completed", "approved")),
        (Behaviour.AFTER_REMINDER, [0], [2], ("completed", "approved")),
        (Behaviour.LAST_DAY, [0], [2, 5], ("completed", "approved")),
        (Behaviour.SECOND_LINK, [0, 7], [2, 5], ("completed", "approved")),
        (Behaviour.STOPS, [0], [], ("lapsed", "suppressed")),
        (Behaviour.BOUNCES, [0], [], ("failed", "bounced")),
        (Behaviour.NEVER, [0, 7], [2, 5, 9, 12], ("lapsed", "messages_spent")),
    ],
)
def test_each_behaviour_has_its_story(behaviour, sessions, reminders, ending):
    story = lived(behaviour)
    assert [round(day) for day in days(story.sessions)] == sessions
    assert [round(day) for day in days(story.reminders)] == reminders
    assert (story.ending, story.why) == ending
    assert story.invitations == story.sessions


def test_with_messages_enough_the_sessions_are_used_up():
    story = lived(Behaviour.NEVER, rules=replace(WAKING, messages=100))
    settled = WAKING.settles / DAY
    assert days(story.sessions) == pytest.approx([0, 7 + settled, 14 + 2 * settled, 21 + 3 * settled])
    assert (len(story.reminders), story.why) == (8, "reissues_spent")


def test_short_links_are_spaced_and_not_reminded_of():
    story = lived(Behaviour.NEVER, HOURS)
    assert days(story.sessions) == [0, 1, 2, 3]
    assert story.reminders == []
    assert (story.ending, story.why) == ("lapsed", "reissues_spent")


def test_an_expiry_event_of_the_provider_saves_the_wait():
    story = lived(Behaviour.SECOND_LINK, replace(WEEK, reports_expiry=True))
    assert days(story.sessions) == [0, 7]


def test_reminders_leave_with_life_in_the_link():
    five_and_a_half = replace(WEEK, lifetime=5 * DAY + 12 * HOUR)
    assert days(lived(Behaviour.LAST_DAY, five_and_a_half).reminders) == [2]  # done before the fifth day
    assert days(lived(Behaviour.STOPS, five_and_a_half).reminders) == []
    never = lived(Behaviour.NEVER, five_and_a_half, until=5 * DAY + HOUR)
    assert days(never.reminders) == [2, 5]
    assert days(lived(Behaviour.NEVER, replace(five_and_a_half, floor=13 * HOUR), until=6 * DAY).reminders) == [2]


def test_nothing_is_sent_at_night_by_the_customers_clock():
    rules = Rules(quiet=(21, 8))
    story = lived(Behaviour.NEVER, rules=rules, ahead=9, start=START + 30 * MINUTE)  # 21:30 in Tokyo
    hours = [time.astimezone(ZoneInfo("Asia/Tokyo")).hour for time in story.invitations + story.reminders]
    assert hours[0] == 8
    assert all(8 <= hour < 21 for hour in hours)
    assert story.sessions == story.invitations


def test_the_zones_name_is_that_of_its_clock():
    for ahead in range(-11, 13):
        offset = START.astimezone(ZoneInfo(Customer(1, WEEK, Behaviour.NEVER, ahead).timezone)).utcoffset()
        assert offset == timedelta(hours=ahead)


def test_two_reminders_that_come_together_are_one():
    rules = replace(Rules(quiet=(21, 8)), reminders=(10 * HOUR, 12 * HOUR, 3 * DAY))  # at 22:00 and at 0:00
    assert days(lived(Behaviour.NEVER, rules=rules, until=4 * DAY).reminders) == pytest.approx([20 / 24, 3])


def test_after_a_bounce_a_text_goes_out_for_the_same_session_where_there_is_a_phone():
    story = lived(Behaviour.BOUNCES, fallback=True, phone=True)
    assert (len(story.sessions), len(story.invitations), story.ending) == (1, 2, "completed")
    assert lived(Behaviour.BOUNCES, fallback=True).ending == "failed"


def test_what_is_not_over_at_the_end_of_the_month_is_open():
    assert lived(Behaviour.REVIEWED, until=20 * DAY).ending == "open"
    assert lived(Behaviour.NEVER, until=3 * DAY).ending == "open"


def test_a_population_holds_every_behaviour_at_every_endpoint_and_sums_up():
    customers = list(population(5000))
    kinds = Counter((customer.endpoint.name, customer.behaviour) for customer in customers)
    assert len(kinds) == len(ENDPOINTS) * len(OF_EACH_LINK)
    assert min(kinds.values()) > 100
    assert {customer.ahead for customer in customers} == set(range(-11, 13))
    stories = [(customer, story_of(customer, Rules(), start=START, until=START + 30 * DAY)) for customer in customers]
    month = totals(stories)
    assert month.endings.total() == 5000
    assert month.sessions.total() == sum(len(story.sessions) for _, story in stories) == month.invitations
    assert {ending for ending, _ in month.endings} == {"completed", "lapsed", "failed"}
    assert month.endings["completed", "denied"] == sum(customer.behaviour is Behaviour.DENIED for customer in customers)
    assert month.margin >= 10 * MINUTE


customers = st.builds(
    Customer,
    st.just(1),
    st.builds(
        Endpoint,
        st.just("any"),
        st.integers(1, 300).map(lambda count: count * HOUR),
        st.just(HOUR / 2),
        reports_expiry=st.booleans(),
    ),
    st.sampled_from(OF_EACH_LINK),
    ahead=st.integers(-11, 12),
    phone=st.booleans(),
)
rules = st.builds(
    Rules,
    reminders=st.lists(st.integers(1, 200).map(lambda count: count * HOUR), max_size=4, unique=True).map(
        lambda spans: tuple(sorted(spans))
    ),
    reissues=st.integers(0, 4),
    messages=st.integers(2, 9),
    quiet=st.sampled_from([None, (21, 8), (1, 5), (8, 22)]),
)


@given(customers, rules, st.booleans())
def test_no_story_breaks_a_promise(customer, rules, fallback):
    story = story_of(customer, rules, start=START, until=START + 30 * DAY, fallback=fallback)
    times = sorted(story.invitations + story.reminders)
    assert len(story.sessions) <= 1 + rules.reissues
    assert len(times) <= rules.messages
    assert len(set(times)) == len(times)
    assert all(START <= time < START + 30 * DAY for time in times + story.sessions)
    assert all(
        later - earlier >= max(rules.spacing, customer.endpoint.lifetime)
        for earlier, later in zip(story.sessions, story.sessions[1:], strict=False)
    )
    assert story.ending != "completed" or customer.behaviour not in (Behaviour.NEVER, Behaviour.STOPS)
