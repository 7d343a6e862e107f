"""A row is claimed and opened in one transaction; a lost answer to it leaves no unknown outcome of a call."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import UnknownFlush
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.model.states import EVENT
from onboarding_worker.wiring.work import invite_work, issue_work
from tests.simulated.world import World, customer

ROOM = Room(10, 10, horizon=timedelta(milliseconds=200))
UNREACHABLE = sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))


@pytest.fixture
def world(make) -> World:
    made: World = make(more="credits = 100", limits=["100/second"])
    made.add(customer("Ona"), customer("Jonas"))
    with made.parts.database.write() as connection:
        connection.execute(sa.update(Job).where(Job.customer_id == "Ona").values(priority=EVENT))
    return made


def works(world):
    """The work on the account, and then that on the mails of what it opened."""
    yield issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    yield invite_work(world.parts, "email")


async def called(work, opened):
    return await work.call(opened, work.clock(), lambda _waited: True)


async def carried_out(work):
    flushed = work.flush([], ROOM)
    work.flush([await called(work, opened) for opened in flushed.opened], None)


async def test_rows_are_opened_in_the_flush_that_claims_them_and_events_go_first(world):
    for work in works(world):
        before = len(world.rows(Attempt))
        flushed = work.flush([], ROOM)
        assert [opened.is_event for opened in flushed.opened] == [True, False]
        assert len(world.rows(Attempt)) == before + 2
        work.flush([await called(work, opened) for opened in flushed.opened], None)
    assert world.states() == {"invited": 2}


async def test_one_flush_writes_results_and_claims_the_next_rows(world):
    """With room for one row at a time."""
    one = replace(ROOM, rows=1, events=1)
    for work in works(world):
        (first,) = work.flush([], one).opened
        (second,) = work.flush([await called(work, first)], one).opened
        assert first.id != second.id
        assert work.flush([await called(work, second)], one).opened == []
    assert world.states() == {"invited": 2}


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
            with pytest.raises(UnknownFlush) as caught:
                work.flush([], ROOM)
        assert "Ona" not in repr(caught.value)
        work.release(caught.value.opened)
        assert [row.state.value for row in world.rows(model)] == ["waiting", "waiting"]
        written = [row for row in world.rows(Attempt) if row.id not in before]
        assert [row.outcome for row in written] == (["not_sent"] * 2 if kept else [])
        await carried_out(work)
    assert world.states() == {"invited": 2}
    assert world.budget().credits_used == 2


async def test_each_call_asks_once_whether_it_may_be_written_before_anything_is(world):
    """The calls behind it keep their distance from that moment."""
    asked = []

    def may_write(_waited):
        asked.append(len(world.http.requests) + len(world.senders["email"].messages))
        return True

    for work in works(world):
        for opened in work.flush([], ROOM).opened:
            work.flush([await work.call(opened, work.clock(), may_write)], None)
    assert asked == [0, 1, 2, 3]
