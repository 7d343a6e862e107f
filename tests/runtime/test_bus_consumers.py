"""The queues of a configuration are consumed together: where one cannot be, the command ends and says why."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.events.bus.sources import Unfit
from onboarding_worker.runtime import bus_consumers
from onboarding_worker.settings.load import load
from tests.simulated.world import configuration
from tests.suite.waiting import ENDS_WITHIN


class Inbox:
    closed = 0

    def __init__(self, _settings: Any) -> None:
        pass

    def close(self) -> None:
        Inbox.closed += 1


class Consumer:
    """Runs until it is stopped; that of the source `unfit` cannot start."""

    outdated = ""

    def __init__(self, source: Any, _inbox: Any, *, database: Any, **_options: Any) -> None:
        self.source, self.database = source, database
        self.stopped = threading.Event()

    def run(self) -> None:
        if self.source.url == "unfit":
            raise Unfit("bus: RabbitMQ lacks the queue")
        assert self.stopped.wait(ENDS_WITHIN), "it was not stopped"

    def stop(self) -> None:
        self.stopped.set()


class Ready(Consumer):
    """Opens the database, and runs until it is stopped."""

    all_ready = threading.Barrier(1)

    def __init__(self, source: Any, inbox: Any, **options: Any) -> None:
        super().__init__(source, inbox, **options)
        self.inbox = inbox

    def run(self) -> None:
        self.inbox.check_ready()
        self.all_ready.wait(ENDS_WITHIN)
        super().run()


def test_a_consumer_that_cannot_start_ends_the_others_and_its_reason_is_raised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bus_consumers, "BusConsumer", Consumer)
    monkeypatch.setattr(bus_consumers, "DatabaseInbox", Inbox)
    monkeypatch.setattr(Inbox, "closed", 0)
    sources: Any = [
        SimpleNamespace(url=url, tls=None, topology=SimpleNamespace(queue=url)) for url in ("one", "unfit", "another")
    ]
    both = bus_consumers.Consumers(SimpleNamespace(), sources, lambda _wake_up: None)  # type: ignore[arg-type]
    with pytest.raises(Unfit, match="lacks the queue"):
        both.run()
    assert Inbox.closed == 1
    assert all(consumer.stopped.is_set() for consumer in both._consumers)  # none had to wait until it gave up
    assert len({id(consumer.database) for consumer in both._consumers}) == 1  # an outage is logged once for all


def heartbeats() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "heartbeat"}


def test_a_process_with_several_queues_says_once_that_it_runs(
    empty_postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bus_consumers, "BusConsumer", Ready)
    monkeypatch.setattr(Ready, "all_ready", threading.Barrier(4))
    (tmp_path / "onboarding.toml").write_text(configuration(empty_postgresql_url))
    monkeypatch.setenv("KEY", new_key())
    monkeypatch.setenv("SECRET", "00000000-0000-4000-8000-000000000000")
    before = heartbeats()
    sources: Any = [SimpleNamespace(url=url, tls=None, topology=SimpleNamespace(queue=url)) for url in "abc"]
    several = bus_consumers.Consumers(load(tmp_path / "onboarding.toml"), sources, lambda _wake_up: None)
    running = threading.Thread(target=several.run)
    running.start()
    Ready.all_ready.wait(ENDS_WITHIN)
    assert len(heartbeats() - before) == 1
    several.stop()
    running.join(ENDS_WITHIN)
    assert not heartbeats() - before
