"""Links that are replaced before their end, over hours of virtual time."""

import re
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeProvider
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import LIVE_SESSIONS, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.reissue import ahead_at
from tests.simulated.world import customer

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
AHEAD = 'most = 2\nspacing = "0 s"\nahead = "2 hours"'
ONE_HOUR_AHEAD = AHEAD.replace("2 hours", "1 hour")


def invited(make, *names, early=True, lives=6 * HOUR, **settings):
    world = make(**{"follow_up": AHEAD, "more": f'lifetime = "{lives // HOUR} hours"'} | settings)
    world.provider = FakeProvider(opens_early=early, lifetime=lives)
    world.parts.providers["kyc"] = world.provider
    world.add(*map(customer, names), floor=HOUR)
    return world


def sent(world, name):
    """The sessions whose links the customer has, oldest first."""
    messages = {row.session_id for row in world.rows(InvitationRow, state="sent")}
    sessions = [row for row in world.rows(SessionRow, customer_id=name) if row.id in messages]
    return sorted(sessions, key=lambda row: row.issued_at)


def starts(world, name):
    """As the webhook of the customer's first step has it."""
    world.set(SessionRow, SessionRow.customer_id == name, SessionRow.state == SessionState.WAITING, state="started")


async def test_no_customer_who_has_not_started_holds_only_a_dead_link(make, clock):
    names = ["C0", "C1", "C2"]
    begun, started = clock(), set()
    world = invited(make, *names, lives=3 * HOUR, follow_up=ONE_HOUR_AHEAD)
    await world.work()
    for minute in range(5, 6 * 60 + 30, 5):
        clock.advance(minutes=5)
        if minute == 90:
            starts(world, "C0")
            started.add("C0")
        await world.work()
        for name in names:
            assert name in started or any(row.expires_at > clock() for row in sent(world, name))
            live = [row for row in world.rows(SessionRow, customer_id=name) if row.state in LIVE_SESSIONS]
            assert len(live) <= 1
    # One every two hours, at most two after the first; the one that a customer has started is replaced after its end.
    assert [[(row.issued_at - begun) // MINUTE for row in sent(world, name)] for name in names] == [
        [0, 3 * 60 + 15, 5 * 60 + 15],
        *[[0, 2 * 60, 4 * 60]] * 2,
    ]
    assert len(world.asked) == 9


async def test_a_link_that_ends_at_night_is_replaced_in_the_evening_and_is_dead_in_quiet_hours_alone(make, clock):
    """By the clock in Vilnius, where it is 14:00 first."""
    most = AHEAD.replace("most = 2", "most = 5")
    world = invited(make, "Ona", lives=9 * HOUR, follow_up=most, templates='quiet_hours = { email = "21:00-08:00" }')
    begun, dead = clock(), []
    await world.work()
    for minute in range(30, 45 * 60, 30):
        clock.advance(minutes=30)
        await world.work()
        if not any(row.expires_at > clock() for row in sent(world, "Ona")):
            dead.append(14 * 60 + minute)
    # Those of 14:00 and 15:00 would end at 23:00 and 0:00. What follows ends too late to be replaced before the night.
    days = [14 * 60, 19 * 60, (24 + 8) * 60, (24 + 15) * 60, (24 + 19.5) * 60]
    assert [14 * 60 + (row.issued_at - begun) // MINUTE for row in sent(world, "Ona")][:5] == days
    assert dead == [*range((24 + 4) * 60, (24 + 8) * 60, 30), *range((48 + 4) * 60 + 30, (48 + 8) * 60, 30)]


async def test_where_the_provider_opens_no_second_session_the_link_is_replaced_after_its_end(make, clock):
    world = invited(make, "Ona", early=False)
    await world.work()
    clock.advance(hours=5)
    await world.work()
    assert len(world.asked) == 1
    clock.advance(hours=1, minutes=15)
    await world.work()
    assert len(world.asked) == 2


async def test_a_customer_who_starts_before_the_call_keeps_the_link_and_costs_no_second_session(make, clock):
    world = invited(make, "Ona")
    await world.work()
    clock.advance(hours=4)
    world.look_after()
    assert (world.job("Ona").state, world.job("Ona").reason) == (JobState.WAITING, "link_ends_soon")
    starts(world, "Ona")
    await world.work()
    assert (world.job("Ona").state, len(world.asked)) == (JobState.INVITED, 1)
    assert world.row(SessionRow).check_at > world.row(SessionRow).expires_at


async def test_the_old_session_is_live_until_the_new_one_is_there(make, clock):
    world = invited(make, "Ona")
    await world.work()
    clock.advance(hours=4)
    world.look_after()
    assert world.row(SessionRow).state is SessionState.WAITING
    await world.work()
    assert [row.state for row in sent(world, "Ona")] == [SessionState.SUPERSEDED, SessionState.WAITING]


async def test_the_message_with_the_new_link_does_not_say_that_the_earlier_one_has_ended(make, clock):
    world = invited(make, "Ona")
    await world.work()
    clock.advance(hours=4)
    await world.work()
    earlier, _ = sent(world, "Ona")
    first, second = world.senders["email"].messages
    assert earlier.expires_at > clock()
    assert "replaces the earlier one" not in first.text
    assert "replaces the earlier one" in second.text
    assert not re.search(r"\b(ended|expired|no longer)\b", second.subject + second.text + second.html)


async def test_a_message_that_has_not_left_is_not_replaced_and_is_looked_at_again(make, clock):
    world = invited(make, "Ona")
    await world.issue()
    clock.advance(hours=4)
    world.look_after()
    assert (world.row(Job).state, len(world.asked)) == (JobState.ISSUED, 1)
    assert world.row(SessionRow).check_at is not None


@pytest.mark.parametrize(
    ("lives", "spacing", "hours"), [(6, 0, 4), (1, 0, 0.5), (3, 0, 1.5), (6, 5, 5), (6, 6, None), (2, 0, 1)]
)
async def test_a_link_lives_at_least_half_its_life_and_as_long_as_the_spacing(clock, lives, spacing, hours):
    begins = clock()
    contact = ContactPolicy(Caps(3, 9), ahead=2 * HOUR, spacing=spacing * HOUR)
    at = ahead_at(contact, begins, begins + lives * HOUR, begins - HOUR)
    assert at == (None if hours is None else begins + hours * HOUR)
