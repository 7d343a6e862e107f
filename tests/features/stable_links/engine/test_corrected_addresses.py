"""An address is corrected after our own link has gone there."""

from datetime import timedelta

import pytest

from onboarding_worker.features.stable_links.routes import landings_of
from tests.features.service_desk.engine.test_corrected_addresses import (
    DAY,
    REMINDED,
    RIGHT,
    WAYS,
    by_list,
    every_way,
    invited,
    later,
    mails,
)
from tests.features.stable_links.engine.test_stable_links import AHEAD, ON_CLICK


@pytest.fixture
def stable(make):
    return make(sender=AHEAD, follow_up=REMINDED)


def secret_of(link):
    return link.rpartition("/s/")[2]


def see(world, link):
    return landings_of(world.parts).see(secret_of(link), now=world.clock())


@every_way
async def test_a_stable_link_that_was_not_opened_is_revoked_and_a_new_one_leads_to_the_same_session(stable, correct):
    await invited(stable)
    ((_, old),) = mails(stable)
    correct(stable)
    assert type(see(stable, old).decision).__name__ == "Gone", "at once"

    await later(stable, timedelta(minutes=5))
    _, (to, new) = mails(stable)
    assert to == RIGHT
    assert type(see(stable, new).decision).__name__ == "Lead"
    assert len(stable.asked) == 1


@pytest.mark.parametrize(("correct", "opens_early"), [(by_list, True), *((way, False) for way in WAYS)])
async def test_behind_a_stable_link_that_was_opened_the_session_is_given_away(stable, correct, opens_early):
    stable.provider.opens_early = opens_early
    await invited(stable)
    ((_, old),) = mails(stable)
    seen = see(stable, old)
    landings_of(stable.parts).visited(seen, opened=True, now=stable.clock())
    correct(stable)
    assert type(see(stable, old).decision).__name__ == "Gone"

    await later(stable, timedelta(minutes=5))
    assert len(mails(stable)) == (2 if opens_early else 1)
    await later(stable, 8 * DAY)
    to, new = mails(stable)[1]
    assert to == RIGHT
    assert len(stable.asked) == 2
    assert see(stable, new).link != seen.link


async def test_a_stable_link_before_a_session_is_bought_is_revoked_too(make):
    world = make(sender=ON_CLICK)
    await invited(world)
    ((_, old),) = mails(world)
    by_list(world)
    await later(world, timedelta(minutes=5))
    _, (to, new) = mails(world)
    assert (to, world.asked) == (RIGHT, [])
    assert type(see(world, old).decision).__name__ == "Gone"
    assert type(see(world, new).decision).__name__ == "Press"
