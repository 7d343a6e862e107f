"""The time of a write is that of its transaction: the process may stand still on its way to the database."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.simulated.world import World, customer
from worker.engine.dispatch.contract import Room
from worker.store.tables import Attempt, Job

ROOM = Room(10, 10, 0)


@pytest.fixture
def world(make) -> World:
    made: World = make()
    made.add(customer("Ona"))
    return made


def works(world):
    """The work on the account, and then that on the mails of what it opened."""
    yield world.parts.issue_work("kyc", world.http, wake_invite=lambda *_: None)
    yield world.parts.invite_work("email")


def standing_still(world, work):
    """The work of a process that stands still for two minutes before each of its transactions begins."""

    @contextmanager
    def transaction():
        world.clock.advance(minutes=2)
        with world.parts.database.write() as connection:
            yield connection

    return replace(work, transaction=transaction)


async def test_a_result_is_written_with_the_time_at_which_it_is_written(world):
    for work in works(world):
        (opened,) = work.flush([], work.claim(ROOM).items)
        result = await work.call(opened)
        answered_at = world.clock()
        standing_still(world, work).flush([result], [])
        attempt = world.row(Attempt, id=opened.attempt_id)
        assert attempt.outcome == "done"
        assert (attempt.closed_at - answered_at).total_seconds() == pytest.approx(120)


async def test_no_attempt_is_written_for_a_lease_that_ended_while_the_process_stood_still(world):
    for work in works(world):
        items = work.claim(ROOM).items
        written = len(world.rows(Attempt))
        assert standing_still(world, work).flush([], items) == []
        assert len(world.rows(Attempt)) == written
        await world.work()
    assert world.row(Job).state.value == "invited"
