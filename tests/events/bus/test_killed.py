"""kill -9 at any moment: no event is lost, and an event that was taken before comes again, as a duplicate."""

import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.events.bus.links import stream_link
from onboarding_worker.events.bus.sources import GROUP, events_of
from tests.events.bus import killed
from tests.events.bus.brokers import requested
from tests.suite.waiting import ENDS_WITHIN, wait_until

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([killed.__name__])


def start(broker: Any, file: Path, *, once: bool = False) -> Any:
    process = FORKING.Process(target=killed.consume, args=(broker.bus.url, broker.bus.queue, file, once))
    process.start()
    return process


def ids(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def test_an_event_that_was_committed_and_not_acknowledged_comes_again(broker: Any, tmp_path: Path):
    file = tmp_path / "taken"
    broker.publish(requested(id="1"))
    killing_itself = start(broker, file, once=True)
    killing_itself.join(ENDS_WITHIN)
    assert killing_itself.exitcode == -signal.SIGKILL
    assert ids(file) == ["1"]
    another = start(broker, file)
    try:
        wait_until(lambda: ids(file) == ["1", "1"], "it comes again, for the inbox to know")
    finally:
        another.kill()
        another.join()


def test_consumers_that_are_killed_again_and_again_lose_nothing(broker: Any, tmp_path: Path):
    file = tmp_path / "taken"
    wanted = [str(n) for n in range(100)]
    for first in (0, 50):
        before = len(ids(file))
        consumer = start(broker, file)
        try:
            broker.publish(*(requested(id=n) for n in wanted[first : first + 50]))
            wait_until(lambda before=before: len(ids(file)) > before, "some are taken")
        finally:
            consumer.kill()  # wherever it is
            consumer.join()
    last = start(broker, file)
    try:
        wait_until(lambda: set(ids(file)) == set(wanted), "all are taken")
        wait_until(lambda: (broker.waiting(), broker.held()) == (0, 0), "nothing is left")
    finally:
        last.kill()
        last.join()
    assert broker.dead() == []


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
def test_an_entry_whose_reader_never_got_the_answer_stays(broker: Any):
    def consumers() -> list[Any]:
        with broker.client() as client:
            return list(client.xinfo_consumers(broker.bus.queue, GROUP))

    broker.publish(requested())
    with stream_link(events_of(broker.bus)) as link, broker.client() as client:
        assert link.receive(0, 0.0) == []
        client.xreadgroup(GROUP, link._me, {broker.bus.queue: ">"})  # type: ignore[attr-defined]
    assert [one["pending"] for one in consumers()] == [1]
    with stream_link(events_of(broker.bus), taken_seconds=0) as link:
        (delivery,) = link.receive(1, 0.0)
        link.acknowledge([delivery])
    assert [one["pending"] for one in consumers()] == [0]
