"""kill -9 at any moment: no event is lost, and an event that was taken before comes again, as a duplicate."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.inbound.bus.brokers import requested
from tests.suite.waiting import ENDS_WITHIN, wait_until

ROOT = Path(__file__).parents[3]


def start(broker: Any, file: Path, *more: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.inbound.bus.killed", broker.bus.url, broker.bus.queue, str(file), *more]
    return subprocess.Popen(line, cwd=ROOT, env=environ, start_new_session=True)


def ids(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def test_an_event_that_was_committed_and_not_acknowledged_comes_again(broker: Any, tmp_path: Path):
    file = tmp_path / "taken"
    broker.publish(requested(id="1"))
    killed = start(broker, file, "once")
    killed.wait(ENDS_WITHIN)
    assert ids(file) == ["1"]
    another = start(broker, file)
    try:
        wait_until(lambda: ids(file) == ["1", "1"], "it comes again, for the inbox to know")
    finally:
        another.kill()
        another.wait()


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
            consumer.wait()
    last = start(broker, file)
    try:
        wait_until(lambda: set(ids(file)) == set(wanted), "all are taken")
        wait_until(lambda: (broker.waiting(), broker.held()) == (0, 0), "nothing is left")
    finally:
        last.kill()
        last.wait()
    assert broker.dead() == []
