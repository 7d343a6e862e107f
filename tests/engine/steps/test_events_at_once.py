"""An event's row is claimed and opened in one transaction; a lost answer to it leaves no unknown outcome of a call."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.simulated.world import World, customer
from worker.engine.dispatch.contract import Room, UnknownClaim
from worker.store.base.priorities import EVENT
from worker.store.tables import Attempt, InvitationRow, Job

ROOM = Room(10, 10, 0, 5)
UNREACHABLE = sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))


@pytest.fixture
def world(make_on_both) -> World:
    made: World = make_on_both(more="credits = 100", limits=["100/second"])
    made.add(customer("Ona"), customer("Jonas"))
    with made.parts.database.write() as connection:
        connection.execute(sa.update(Job).where(Job.customer_id == "Ona").values(priority=EVENT))
    return made


def works(world):
    """The work on the account, and then that on the mails of what it opened."""
    yield world.parts.issue_work("kyc", world.http, wake_invite=lambda *_: None)
    yield world.parts.invite_work("email")


async def carried_out(work, world):
    claimed = work.claim(ROOM)
    results = [await work.call(opened) for opened in claimed.opened]
    results += [await work.call(opened) for opened in work.flush([], claimed.items)]
    work.flush(results, [])


async def test_an_event_is_opened_in_its_claim_and_a_batch_row_is_not(world):
    for work in works(world):
        before = len(world.rows(Attempt))
        claimed = work.claim(ROOM)
        assert [work.item(opened).is_event for opened in claimed.opened] == [True]
        assert [item.is_event for item in claimed.items] == [False]
        assert len(world.rows(Attempt)) == before + 1
        results = [await work.call(opened) for opened in claimed.opened]
        work.release(claimed.items)
        work.flush(results, [])
        await carried_out(work, world)
    assert world.states() == {"invited": 2}


async def test_without_room_for_attempts_a_claim_opens_no_row(world):
    work = next(works(world))
    claimed = work.claim(Room(10, 10, 0))
    assert (len(claimed.items), claimed.opened, world.rows(Attempt)) == (2, [], [])


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "not committed"])
async def test_if_the_answer_to_a_claim_is_lost_its_rows_are_released(world, kept, monkeypatch):
    write = world.parts.database.write

    @contextmanager
    def lost(within=None):
        with write(within) as connection:
            yield connection
            if within is None and not kept:
                raise UNREACHABLE
        if within is None:
            raise UNREACHABLE

    for work, model in zip(works(world), (Job, InvitationRow), strict=True):
        before = {row.id for row in world.rows(Attempt)}
        with monkeypatch.context() as patched:
            patched.setattr(world.parts.database, "write", lost)
            with pytest.raises(UnknownClaim) as caught:
                work.claim(ROOM)
        assert "Ona" not in repr(caught.value)
        work.release(caught.value.items)
        assert [row.state.value for row in world.rows(model) if row.priority == EVENT] == ["waiting"]
        written = [row for row in world.rows(Attempt) if row.id not in before]
        assert [row.outcome for row in written] == (["not_sent"] if kept else [])
        # The claimed batch rows come back as from a worker that died.
        world.clock.advance(seconds=61)
        world.parts.sweep.return_leases()
        await carried_out(work, world)
    assert world.states() == {"invited": 2}
    assert world.budget().credits_used == 2
