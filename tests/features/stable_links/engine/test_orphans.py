"""A session whose token was lost with its answer: what its visitor reads meanwhile."""

import re
from datetime import datetime, timedelta

import pytest

from onboarding_worker.features.stable_links.landing import Wait
from onboarding_worker.features.stable_links.routes import landings_of
from tests.core.work.simulated.test_orphans import listed
from tests.core.work.simulated.test_reconciling import DROPPED, played, wait_and_work
from tests.features.stable_links.engine.test_stable_links import ON_CLICK
from tests.simulated.world import customer
from tests.suite.of_features import needs

__all__ = ["played"]


@pytest.mark.both_databases
@needs("service_desk")
async def test_a_visitor_and_the_desk_read_until_when_an_orphan_is_waited_for(played):
    """The row is due at the next look, hours before that."""
    from onboarding_worker.features.service_desk.opened import desk_of

    world = played([DROPPED], [listed("ACTIVE")] * 99, sender=ON_CLICK)
    world.add(customer("Ona"))
    await world.work()
    (secret,) = re.findall(r"/s/([\w-]{24})", world.senders["email"].messages[0].text)
    landings_of(world.parts).ask(secret, now=world.clock())
    link_requested_at = world.clock()
    await world.work()

    def seen() -> tuple[datetime | None, str]:
        decision = landings_of(world.parts).see(secret, now=world.clock()).decision
        assert isinstance(decision, Wait)
        return decision.until, desk_of(world.parts).resend("Ona", now=world.clock()).then

    words = "wait: the worker finds it out by itself, by {:%Y-%m-%d %H:%M} UTC at the latest, and then goes on"
    after = (
        "wait: the worker looks at that session again at {:%Y-%m-%d %H:%M} UTC, and asks for a new one after its end,"
        " by {:%Y-%m-%d %H:%M} UTC at the latest"
    )
    look_up = world.job("Ona").due_at
    assert seen() == (look_up, words.format(look_up))
    await wait_and_work(world)
    until, then = seen()
    end = link_requested_at + timedelta(days=7)
    assert end <= until <= end + timedelta(minutes=1)
    assert then == after.format(world.job("Ona").due_at, until)
