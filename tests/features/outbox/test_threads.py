"""Beside a loop: a target that hangs holds up neither the loop nor the end."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from onboarding_worker.events.cloudevents import Happened
from onboarding_worker.features.outbox.outbox_publisher import OutboxThreads
from onboarding_worker.features.outbox.publishers.contract import Reply
from tests.conftest import SetClock
from tests.features.outbox.publishing.targets import happen, targets_of
from tests.simulated.world import World
from tests.suite.waiting import ENDS_WITHIN

LEFT = "1 outgoing event not delivered yet; `onboard events outgoing list` says why"


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
        happen(made, Happened.JOB_HELD, "A")
        yield made


def test_a_target_that_hangs_is_waited_for_no_longer_than_was_said_and_let_go_of_at_the_end(world):
    hangs = Hangs()
    beside = OutboxThreads(targets_of(world), {"bus": hangs})
    assert beside.finish(timedelta(seconds=0.1)) == LEFT
    assert hangs.at_it.is_set()
    closing = threading.Thread(target=beside.close)
    closing.start()
    closing.join(ENDS_WITHIN)
    assert not closing.is_alive()


def test_the_database_is_not_asked_again_and_again_while_one_target_is_waited_for(world, monkeypatch):
    outbox, asked, due = targets_of(world), [], targets_of(world).due

    def counted():
        asked.append(1)
        return due() if len(asked) > 1 else ["bus", "other"]

    monkeypatch.setattr(type(outbox), "due", lambda _outbox: counted())
    outbox.rules["other"] = outbox.rules["bus"]
    beside = OutboxThreads(outbox, {"bus": Hangs(), "other": Takes()})
    beside.finish(timedelta(seconds=0.5))
    assert len(asked) < 10
    beside.close()


def test_the_last_events_are_published(world):
    beside = OutboxThreads(targets_of(world), {"bus": Takes()})
    assert beside.finish() == ""
    beside.close()


def test_without_a_target_there_is_nothing_to_do(world):
    beside = OutboxThreads(targets_of(world), {})
    beside.step()
    assert beside.finish() == ""
    beside.close()
