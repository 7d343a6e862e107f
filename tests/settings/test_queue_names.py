"""[broker] prefix, and that no two queues at the brokers have one name."""

from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.events.bus.sources import sources_of
from onboarding_worker.settings.outside import REQUESTS
from onboarding_worker.settings.queue_names import NEXT_TO_EVENTS
from tests.settings.samples import loaded, problems, tree

REDIS = {"url": "redis://127.0.0.1"}


@pytest.mark.parametrize("prefix", ["onboarding.", "a", "Team-2_eu.", "requests.", "x" * 50])
def test_a_prefix_is_a_few_plain_characters(tmp_path: Path, prefix: str) -> None:
    assert loaded(tmp_path, tree(broker=REDIS | {"prefix": prefix})).broker.prefix == prefix


@pytest.mark.parametrize("prefix", ["", ".a", "amq.", "two words", "a/b", "ä", "a\n", "x" * 51, 5])
def test_another_prefix_is_refused(tmp_path: Path, prefix: Any) -> None:
    (problem,) = problems(tmp_path, tree(broker=REDIS | {"prefix": prefix}))
    assert problem.startswith("broker.prefix: expected ")


@pytest.mark.parametrize(
    ("broker", "bus", "refused"),
    [
        ({}, {"queue": "onboarding.issue"}, "bus.queue: `onboarding.issue` is a name of the workers"),
        ({"prefix": "a."}, {"queue": "a.sweep"}, "bus.queue: `a.sweep` is a name of the workers"),
        ({"prefix": "a."}, {"queue": "a.unacked"}, "bus.queue: `a.unacked` is a name of the workers"),
        ({"prefix": "a."}, {"exchange": "a.tell"}, "bus.exchange: `a.tell` is a name of the workers"),
        ({}, {"queue": "requests"}, "bus.queue: `requests` is a name of requests"),
        ({}, {"queue": "requests.dead"}, "bus.queue: `requests.dead` is a name of requests"),
        ({}, {"exchange": "requests"}, "bus.exchange: `requests` is a name of requests"),
        ({}, {"queue": "in", "exchange": "in"}, "bus.exchange: `in` is a name of the bus"),
        ({}, {"queue": "in", "exchange": "in.dead"}, "bus.exchange: `in.dead` is a name of the bus"),
    ],
)
def test_two_names_that_are_one_stop_the_start(
    tmp_path: Path, broker: dict[str, Any], bus: dict[str, Any], refused: str
) -> None:
    (problem,) = problems(tmp_path, tree(broker=REDIS | broker, bus=REDIS | bus))
    assert problem.startswith(refused)


def test_a_queue_of_events_may_begin_with_the_prefix(tmp_path: Path) -> None:
    assert problems(tmp_path, tree(broker=REDIS | {"prefix": "a."}, bus=REDIS | {"queue": "a.requests"})) == []


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "amqp://127.0.0.1"])
def test_each_name_beside_a_queue_of_events_is_compared(tmp_path: Path, url: str) -> None:
    for source in sources_of(loaded(tmp_path, tree(broker={"url": url}, bus={"url": url, "queue": "in"}))):
        topology = source.topology
        queue = "in" if topology.queue == "in" else REQUESTS
        named = {topology.queue, topology.stream, topology.dead, *topology.amqp_queues}
        assert named <= {queue + end for end in NEXT_TO_EVENTS}
