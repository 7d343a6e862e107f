"""Beside a loop: a target that hangs holds up neither the loop nor the end."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import SetClock
from tests.simulated.world import World
from tests.suite.waiting import ENDS_WITHIN
from worker.core.model.published_events import Happened
from worker.features.outbox.outbox_targets import subscriptions_of
from worker.features.outbox.outbox_threads import OutboxThreads
from worker.features.outbox.publishers.contract import Reply


class Hangs:
    longest = timedelta(minutes=1)

    def __init__(self) -> None:
        self.at_it = threading.Event()

    def publish(self, events, *, clock, goes_on):
        self.at_it.set()
        while goes_on():
            threading.Event().wait(0.01)
        return []

    def close(self) -> None:
        pass


class Takes(Hangs):
    def publish(self, events, *, clock, goes_on):
        return [Reply(event.number, clock()) for event in events]


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path):
    with World(sqlite_url, tmp_path, SetClock(), more='[bus]\nurl = "amqp://127.0.0.1"') as made:  # type: ignore[arg-type]
        with made.parts.database.write() as connection:
            data = {"customer_id": "A", "account": "kyc", "job_id": 1}
            subscriptions_of(made.parts.settings).write(connection, Happened.JOB_HELD, [data], now=made.clock())
        yield made


async def test_a_target_that_hangs_is_waited_for_no_longer_than_was_said_and_let_go_of_at_the_end(world):
    hangs = Hangs()
    beside = OutboxThreads(world.parts.outbox_targets, {"bus": hangs})
    assert await beside.tick() is True
    assert await beside.publish_what_is_left(timedelta(seconds=0.1)) == 1
    assert hangs.at_it.is_set()
    async with asyncio.timeout(ENDS_WITHIN):
        await beside.close()


async def test_the_database_is_not_asked_again_and_again_while_one_target_is_waited_for(world, monkeypatch):
    asked, due = [], world.parts.outbox_targets.due

    def counted():
        asked.append(1)
        return due() if len(asked) > 1 else ["bus", "other"]

    outbox = world.parts.outbox_targets
    monkeypatch.setattr(type(outbox), "due", lambda _outbox: counted())
    outbox.policies["other"] = outbox.policies["bus"]
    beside = OutboxThreads(outbox, {"bus": Hangs(), "other": Takes()})
    await beside.publish_what_is_left(timedelta(seconds=0.5))
    assert len(asked) < 10
    await beside.close()


async def test_the_last_events_are_published(world):
    beside = OutboxThreads(world.parts.outbox_targets, {"bus": Takes()})
    assert await beside.publish_what_is_left() == 0
    await beside.close()


async def test_without_a_target_there_is_nothing_to_do(world):
    beside = OutboxThreads(world.parts.outbox_targets, {})
    assert await beside.tick() is False
    assert await beside.publish_what_is_left() == 0
    await beside.close()
