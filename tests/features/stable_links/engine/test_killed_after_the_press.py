"""A worker that is killed between a customer's press and the session: one live session follows, and no second one is
paid for without a word. Bought on click; the customer presses again whenever the page lets them."""

import asyncio
import re
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeHttp
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import SessionRow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.features.stable_links.landing import Lead, Over, Wait
from onboarding_worker.features.stable_links.routes import landings_of
from onboarding_worker.wiring.work import issue_work
from tests.features.stable_links.engine.test_stable_links import ON_CLICK
from tests.simulated.world import customer
from tests.stored.shelf import facts_about
from tests.suite.of_features import needs

LEASE_AND_CALL = timedelta(seconds=60 + 10 + 5)  # the lease, the call's own time-out, and the margin
HERE, GONE = FakeHttp.listing(("scan-paid", "ACTIVE")), FakeHttp.listing(("scan-paid", "EXPIRED"))


@pytest.fixture
def killed(make):
    """Makes a world whose customer has pressed, and whose worker died with the call written down and no result stored;
    with these answers to look-ups, the last again and again."""

    async def prepare(*listings, lists=True):
        found = list(listings)

        def answer(request):
            if request.method == "GET":
                return found.pop(0) if len(found) > 1 else found[0]
            return world.session()

        world = make(answer, sender=ON_CLICK)
        world.provider.lists = lists
        world.add(customer("A"))
        await world.work()
        (text,) = [message.text for message in world.senders["email"].messages]
        world.secret = re.findall(r"/s/([\w-]{24})(?![\w-])", text)[0]
        assert isinstance(press(world), Wait)
        work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
        assert work.flush([], Room(1, 1)).opened  # here the process ends
        return world

    return prepare


def press(world):
    return landings_of(world.parts).ask(world.secret, now=world.clock()).decision


async def pass_time(world, span, *, steps=10):
    """The customer presses again each time; returns what the customer gets at the end."""
    for _ in range(steps):
        await asyncio.sleep((span / steps).total_seconds())
        press(world)
        await world.work()
    return landings_of(world.parts).see(world.secret, now=world.clock()).decision


def bought(world):
    return [row.state for row in world.rows(SessionRow) if row.state != "deferred"]


async def test_before_the_call_left_it_is_made_once_the_provider_knows_nothing(killed):
    world = await killed(FakeHttp.listing())

    assert isinstance(await pass_time(world, LEASE_AND_CALL - timedelta(seconds=5)), Wait)
    assert world.http.requests == []  # the call may still be on its way
    assert await pass_time(world, timedelta(minutes=5)) == Lead()

    assert (world.asked, bought(world), world.budget().credits_used) == (["A"], ["waiting"], 1)


@needs("service_desk")
async def test_after_the_call_the_session_that_was_lost_ends_before_another_is_paid_for(killed):
    from onboarding_worker.features.service_desk.command import _facts

    world = await killed(HERE, HERE, HERE, GONE)

    assert isinstance(await pass_time(world, timedelta(minutes=5)), Wait)
    assert (world.asked, bought(world)) == ([], [])
    assert await pass_time(world, timedelta(days=2), steps=20) == Lead()

    # Two were paid for, and what is shown of the customer says so; one lives.
    shown = _facts(world.parts.contact.caps, facts_about(world.parts, "A"))
    assert (world.asked, bought(world), world.budget().credits_used) == (["A"], ["waiting"], 2)
    assert (shown["credits"], shown["lost_calls"]) == ({"kyc": 2}, {"kyc": 1})
    assert "scan-paid" in [call.found for call in world.attempts()]


async def test_where_nothing_can_be_found_out_nothing_more_is_paid_for_and_a_person_decides(killed):
    world = await killed(lists=False)
    world.provider.lifetime = None  # until when the lost session may live is not known either

    assert await pass_time(world, timedelta(days=9), steps=8) == Over(Reason.UNKNOWN)

    assert (world.job("A").state, world.asked, bought(world)) == ("held", [], [])
