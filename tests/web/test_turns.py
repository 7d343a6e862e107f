"""Senders take turns at a commit, and each may post so much."""

import asyncio
import uuid

import pytest
import sqlalchemy as sa

from onboarding_worker.core.model.incoming import Event, EventKind, EventReceipt, Outcome
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.web.turns import MOST, MOST_WAITING, Allowance, Batcher, TooMany
from tests.web.site import until


def test_an_allowance_fills_evenly_up_to_what_its_limit_allows():
    allowance = Allowance(Limit.parse("60/minute"))
    assert [allowance.take(0, 0.0) for _ in range(60)] == [0.0] * 60
    assert allowance.take(0, 0.0) == 1.0
    assert allowance.take(0, 0.75) == 0.25
    assert allowance.take(0, 1.0) == 0.0
    assert allowance.take(0, 1.0) == 1.0
    assert [allowance.take(0, 9999.0) for _ in range(61)][-1] == 1.0


def event(number):
    return Event("/signup", str(number), EventKind.REQUESTED, {})


class Slow:
    """Takes each chunk once it is let go on."""

    def __init__(self):
        self.chunks, self.go_on = [], asyncio.Event()

    async def in_thread(self, function, events):
        self.chunks.append([one.id for one in events])
        await self.go_on.wait()
        return function(events)

    def receive(self, events):
        return [EventReceipt(Outcome.TAKEN, uuid.UUID(int=int(one.id))) for one in events], ()


@pytest.fixture
async def slow():
    return Slow()


async def test_each_event_has_its_own_receipt_and_no_lot_is_larger_than_the_most(slow):
    chunks = Batcher(slow.receive, lambda *_: None, slow.in_thread)
    tasks = [asyncio.create_task(chunks.take_in(event(number), "signup")) for number in range(2 * MOST + 5)]
    await until(lambda: slow.chunks)
    slow.go_on.set()
    assert [receipt.id.int for receipt in await asyncio.gather(*tasks)] == list(range(2 * MOST + 5))
    assert max(map(len, slow.chunks)) == MOST


async def test_no_more_are_gathered_than_the_database_keeps_up_with(slow):
    chunks = Batcher(slow.receive, lambda *_: None, slow.in_thread)
    tasks = [asyncio.create_task(chunks.take_in(event(0), "signup"))]
    await until(lambda: slow.chunks)
    tasks += [asyncio.create_task(chunks.take_in(event(number), "signup")) for number in range(MOST_WAITING)]
    await until(lambda: len(chunks._waiting.get("signup", ())) == MOST_WAITING)
    with pytest.raises(TooMany):
        await chunks.take_in(event(0), "signup")
    slow.go_on.set()
    assert len(await asyncio.gather(*tasks)) == MOST_WAITING + 1


async def test_who_sends_much_makes_only_itself_wait(slow):
    chunks = Batcher(slow.receive, lambda *_: None, slow.in_thread)
    much = [asyncio.create_task(chunks.take_in(event(number), "signup")) for number in range(MOST_WAITING)]
    await until(lambda: slow.chunks)
    few = [asyncio.create_task(chunks.take_in(event(number), "billing")) for number in range(5000, 5003)]
    slow.go_on.set()
    assert len(await asyncio.gather(*much, *few)) == MOST_WAITING + 3
    assert slow.chunks[1][:6] == ["100", "5000", "101", "5001", "102", "5002"]


async def test_who_sent_an_event_is_answered_while_the_database_hangs_and_the_event_may_be_taken(slow):
    chunks = Batcher(slow.receive, lambda *_: None, slow.in_thread, seconds=0.01)
    for number in (1, 2):
        with pytest.raises(sa.exc.OperationalError, match="has not answered"):
            await chunks.take_in(event(number), "signup")
    slow.go_on.set()
    assert (await chunks.take_in(event(3), "signup")).id.int == 3
    assert [one for chunk in slow.chunks for one in chunk] == ["1", "2", "3"]
