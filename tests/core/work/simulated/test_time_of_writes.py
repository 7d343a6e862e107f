"""The time of a write is that of its transaction: the process may stand still on its way to the database."""

import asyncio
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Attempt, Budget, Job
from onboarding_worker.core.dispatch.dispatcher import Dispatcher
from onboarding_worker.wiring.work import invite_work, issue_work
from tests.simulated.bench import NOT_COUNTED
from tests.simulated.world import World, customer

ROOM = Room(10, 10)


@pytest.fixture
def world(make) -> World:
    made: World = make()
    made.add(customer("Ona"))
    return made


def works(world):
    """The work on the account, and then that on the mails of what it opened."""
    yield issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    yield invite_work(world.parts, "email")


@contextmanager
def standing_still(world, monkeypatch):
    """The process stands still for two minutes before each of its transactions begins."""
    write = world.parts.database.write

    @contextmanager
    def late(within=None):
        if within is None:
            world.clock.advance(minutes=2)
        with write(within) as connection:
            yield connection

    with monkeypatch.context() as patched:
        patched.setattr(world.parts.database, "write", late)
        yield


async def test_a_result_is_written_with_the_time_at_which_it_is_written(world, monkeypatch):
    for work in works(world):
        (opened,) = work.flush([], ROOM).opened
        result = await work.call(opened, world.clock(), lambda _waited: True)
        answered_at = world.clock()
        with standing_still(world, monkeypatch):
            work.flush([result], None)
        attempt = world.row(Attempt, id=opened.attempt_id)
        assert attempt.outcome == "done"
        assert (attempt.closed_at - answered_at).total_seconds() == pytest.approx(120)


async def test_a_lease_counts_from_the_transaction_that_gives_it(world, monkeypatch):
    for work in works(world):
        asked_at = world.clock()
        with standing_still(world, monkeypatch):
            (opened,) = work.flush([], ROOM).opened
        assert (opened.lease_until - asked_at).total_seconds() == pytest.approx(180)
        work.flush([await work.call(opened, world.clock(), lambda _waited: True)], None)
    assert world.row(Job).state.value == "invited"


async def test_calls_reserved_while_the_process_stood_still_are_not_those_of_a_wrong_clock(make):
    """Otherwise they would be given out a second time."""
    world: World = make(limits=["20/second"])
    world.add(customer("Ona"))
    still: list[bool] = []
    soon: list[datetime] = []

    async def in_turn(function, *arguments):
        if function.__name__ == "flush" and not still:
            still.append(True)
            world.clock.advance(minutes=2)
            soon.append(world.clock() + timedelta(seconds=0.3))
            with world.parts.database.write() as connection:  # another process has reserved calls by now
                connection.execute(sa.update(Budget).where(Budget.name == "kyc").values(next_at=soon[0]))
        return function(*arguments)

    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda *_: None)
    how = {"clock": world.clock, "in_turn": in_turn, "stopping": asyncio.Event(), "wake_others": lambda: None}
    how |= {"stay": timedelta(0), "meter": NOT_COUNTED}
    await Dispatcher(work, longest=timedelta(hours=1), **how).run()
    assert world.parts.budgets.all()["kyc"].next_at >= soon[0]
    assert world.asked == ["Ona"]
