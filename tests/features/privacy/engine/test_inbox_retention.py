"""Stored events are removed after their time, and erased with their customer."""

import pytest

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.features.privacy.retention import INBOX_KEPT, UPDATES_KEPT, Retention
from tests.simulated.events import requested, updated


@pytest.fixture
def kept(make):
    """A world that has taken a request and an update. `more`: of its settings."""

    def prepare(more=""):
        world = make(more=more)
        world.receiver().receive([requested("C-1"), updated("C-1", locale="de")])
        return world

    return prepare


def let_go(world):
    """What a timer does until it rests."""
    retention = Retention(world.parts)
    for _ in range(10):
        retention.step()


async def test_the_data_of_an_update_is_erased_after_its_time_and_the_event_stays_known(kept):
    world = kept()
    world.clock.advance(days=UPDATES_KEPT.days - 1)
    let_go(world)
    assert [row.encrypted in (None, ERASED) for row in world.rows(Inbox)].count(False) == 1
    world.clock.advance(days=1)
    let_go(world)
    assert {row.encrypted for row in world.rows(Inbox)} == {None, ERASED}
    assert len(world.rows(Inbox)) == 2


@pytest.mark.parametrize(("more", "days"), [("", INBOX_KEPT.days), ('[retention]\nbatches = "120 days"', 120)])
async def test_an_event_is_known_for_its_time_or_as_long_as_batches_are(kept, more, days):
    world = kept(more)
    world.clock.advance(days=days - 1)
    let_go(world)
    assert len(world.rows(Inbox)) == 2
    world.clock.advance(days=1)
    let_go(world)
    assert world.rows(Inbox) == []


async def test_the_data_of_an_update_is_erased_with_its_customer(kept):
    world = kept('[retention]\npersonal = "1 day"')
    world.set(Job, state=JobState.COMPLETED, due_at=None)
    world.clock.advance(days=2)
    let_go(world)
    assert world.row(CustomerRow).encrypted is None
    assert {row.encrypted for row in world.rows(Inbox)} == {None, ERASED}


async def test_a_daily_batch_is_purged_like_any_other(kept):
    world = kept('[retention]\nbatches = "120 days"')
    world.set(Job, state=JobState.COMPLETED, due_at=None)
    world.clock.advance(days=121)
    let_go(world)
    assert (world.rows(Job), world.rows(Inbox)) == ([], [])
    assert world.parts.batches.find("latest").purged_at is not None
