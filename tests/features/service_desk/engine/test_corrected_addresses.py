"""An address is corrected after its link has gone there: by a list, an event, the desk, a report that comes back."""

import asyncio
import re
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.opened import desk_of
from tests.simulated.events import event
from tests.simulated.world import customer

DAY, WEEK = timedelta(days=1), timedelta(days=7)
RIGHT = "right@example.org"


def by_list(world, email=RIGHT):
    person = Person(email=email, phone="+37060000001", first_name="A")
    world.add(customer("A", person=person))


def by_update(world, email=RIGHT):
    take(world, EventKind.UPDATED, {"customer_id": "A", "email": email})


def by_request(world, email=RIGHT):
    row = {"customer_id": "A", "email": email, "phone": "+37060000001", "first_name": "A", "country": "LT"}
    take(world, EventKind.REQUESTED, row)


def take(world, kind, data):
    now = world.clock()
    world.receiver().receive([event(kind, data, occurred_at=now)])


def by_desk(world, email=RIGHT):
    desk_of(world.parts).correct("A", Correction({"email": email}), by_hand=True, now=world.clock())


def by_report(world, email=RIGHT):
    desk_of(world.parts).correct("A", Correction({"email": email}), reason="row 2", now=world.clock())


WAYS = [by_list, by_update, by_request, by_desk, by_report]
every_way = pytest.mark.parametrize("correct", WAYS)


def mails(world):
    """The address and the link of each email, in the order in which they left."""
    sent = world.senders["email"].messages
    return [(one.to, re.search(r"https://\S+(?:token|/s/)\S+", one.text).group()) for one in sent]


async def later(world, span):
    await asyncio.sleep(span.total_seconds())
    await world.work()


async def invited(world, *customers):
    world.add(*customers or [customer("A")])
    await world.work()
    await later(world, timedelta(hours=1))


REMINDED = 'most = 2\nreminders = ["1 day", "2 days"]'


@pytest.fixture
def world(make):
    return make(follow_up=REMINDED)


@every_way
async def test_the_new_address_gets_another_session_at_once_where_the_provider_opens_one(world, correct):
    """As iDenfy KYB and FrankieOne v1 do."""
    early = world
    early.provider.opens_early = True
    await invited(early)
    correct(early)
    await later(early, timedelta(minutes=5))

    (first, old), (second, new) = mails(early)
    assert (first, second) == ("a@example.org", RIGHT)
    assert old != new
    assert [row.state for row in early.rows(SessionRow)] == ["superseded", "waiting"]
    await later(early, 3 * DAY)
    assert {to for to, link in mails(early) if link == old} == {"a@example.org"}


@pytest.mark.both_databases
@every_way
async def test_elsewhere_nothing_leaves_before_the_end_of_the_old_link_and_then_a_new_one(world, correct):
    await invited(world)
    correct(world)
    await later(world, 6 * DAY)
    assert [to for to, _ in mails(world)] == ["a@example.org"], "no reminder with the link of the old address"

    await later(world, DAY + SETTLES)
    (_, old), (to, new) = mails(world)
    assert to == RIGHT
    assert old != new


@every_way
async def test_a_customer_who_finishes_meanwhile_gets_nothing_more(world, correct):
    await invited(world)
    correct(world)
    await world.work()
    world.set(SessionRow, state="completed", result="approved", check_at=None)
    world.set(Job, Job.leader_id.is_(None), state="completed", result="approved")

    await later(world, 10 * DAY)
    assert [to for to, _ in mails(world)] == ["a@example.org"]
    assert len(world.asked) == 1


@every_way
async def test_the_same_link_goes_there_at_once_where_the_configuration_says_so(make, correct):
    world = make(follow_up='corrected_address = "same-link"')
    await invited(world)
    correct(world)
    await later(world, timedelta(minutes=5))

    (_, old), (to, same) = mails(world)
    assert (to, same) == (RIGHT, old)
    assert [row.kind for row in world.rows(InvitationRow)] == ["invitation", "resend-1"]
    assert len(world.asked) == 1
    assert world.row(SessionRow).check_at == world.row(SessionRow).expires_at + SETTLES


@every_way
async def test_the_cap_on_sessions_holds_and_the_link_stays_where_it_is(make, correct):
    early = make(follow_up="most = 0")
    early.provider.opens_early = True
    await invited(early)
    correct(early)
    await later(early, timedelta(minutes=5))
    assert len(early.asked) == 1
    assert [to for to, _ in mails(early)] == ["a@example.org"]
    await later(early, 8 * DAY)
    assert early.rows(Job)[0].state == "lapsed"
    assert early.rows(Job)[0].reason == Reason.REISSUES_SPENT


@every_way
async def test_a_message_that_has_not_left_goes_to_the_new_address_with_its_link(world, correct):
    world.add(customer("A"))
    await world.issue()
    correct(world)
    await later(world, timedelta(minutes=5))
    assert [to for to, _ in mails(world)] == [RIGHT]
    assert len(world.asked) == 1
    assert world.row(SessionRow).given_away == ""


@every_way
async def test_another_spelling_of_the_address_changes_nothing(world, correct):
    await invited(world)
    correct(world, "a@EXAMPLE.org")
    await later(world, DAY)
    assert world.row(SessionRow).given_away == ""
    assert len({link for _, link in mails(world)}) == 1


async def test_a_request_that_is_cancelled_and_comes_again_with_another_address_gets_a_link_of_its_own(world):
    take(world, EventKind.REQUESTED, {"customer_id": "A", "email": "a@example.org", "first_name": "A"})
    await world.work()
    take(world, EventKind.CANCELLED, {"customer_id": "A"})
    await later(world, timedelta(minutes=5))
    take(world, EventKind.REQUESTED, {"customer_id": "A", "email": RIGHT, "first_name": "A"})
    await later(world, DAY)
    assert len(mails(world)) == 1

    waiting = world.rows(Job)[-1]
    assert (waiting.state, waiting.reason) == ("waiting", Reason.SESSION_ENDS_FIRST)
    await later(world, 7 * DAY)
    (_, old), (to, new) = mails(world)[:2]
    assert to == RIGHT
    assert old != new


async def test_an_address_of_another_kind_keeps_its_reminders(make):
    world = make(follow_up='most = 2\nreminders = ["1 day"]')
    await invited(world, customer("A", channel=Channel.BOTH))
    by_list(world)
    await later(world, 2 * DAY)
    assert len(mails(world)) == 1
    assert len(world.senders["sms"].messages) == 2
