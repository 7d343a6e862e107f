"""The queues of a configuration are consumed together: where one cannot be, the command ends and says why."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tests.suite.waiting import ENDS_WITHIN
from worker.inbound.bus import consumers
from worker.inbound.bus.topology import Unfit


class Inbox:
    closed = 0

    def __init__(self, _settings: Any) -> None:
        pass

    def close(self) -> None:
        Inbox.closed += 1


class Consumer:
    """Runs until it is stopped; that of the source `unfit` cannot start."""

    outdated = ""

    def __init__(self, source: Any, _inbox: Any, **_options: Any) -> None:
        self.source = source
        self.stopped = threading.Event()

    def run(self) -> None:
        if self.source.url == "unfit":
            raise Unfit("bus: RabbitMQ lacks the queue")
        assert self.stopped.wait(ENDS_WITHIN), "it was not stopped"

    def stop(self) -> None:
        self.stopped.set()


def test_a_consumer_that_cannot_start_ends_the_others_and_its_reason_is_raised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(consumers, "BusConsumer", Consumer)
    monkeypatch.setattr(consumers, "DatabaseInbox", Inbox)
    monkeypatch.setattr(Inbox, "closed", 0)
    sources: Any = [
        SimpleNamespace(url=url, tls=None, topology=SimpleNamespace(queue=url)) for url in ("one", "unfit", "another")
    ]
    both = consumers.Consumers(SimpleNamespace(), sources, lambda _wake_up: None)  # type: ignore[arg-type]
    with pytest.raises(Unfit, match="lacks the queue"):
        both.run()
    assert Inbox.closed == 3
    assert len(both._failed) == 1  # none had to wait until it gave up
