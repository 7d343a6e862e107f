"""In which order, and in which portions, xdist gives the tests to its processes.

Its `load` gives out one test at a time, in the order of the files: a process that gets a long test last keeps the
others waiting, each fixture of a module is made in each process, and the bookkeeping of 14,000 portions takes as long
as many tests. Here the groups and the long tests come first, one by one, and then the other tests by files.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests that one process makes one after another, and why. A name of a test begins with one of these.
GROUPS = {
    # They wait for each other: they use queues of the machine's RabbitMQ whose names are fixed.
    "broker": (
        "tests/runtime/test_workers.py::test_a_project_of_its_own",
        "tests/runtime/test_workers.py::test_a_refused_request",
        "tests/runtime/test_workers.py::test_an_application_that_shares",
        "tests/runtime/test_workers.py::test_up_with_a_broker",
        "tests/runtime/test_hostile_messages.py::test_worker_and_bus",
    ),
    # Each has its own database, broker and half a dozen processes.
    "chaos": ("tests/trials/chaos/test_short_run.py",),
    # They share a copy of the checkout.
    "feature": ("tests/docs/test_adding_a_feature.py",),
    # One process loads what a consumer needs, which takes longer than all that these tests do, and forks each consumer.
    "killed consumers": ("tests/events/bus/test_killed.py",),
    # One process loads schemathesis, and what answers it.
    "openapi": ("tests/hostile/test_openapi.py",),
    # One process loads the engine, and plays all histories.
    "simulation": ("tests/trials/simulation/test_simulation.py",),
    # The others would wait until the first one has built the wheel.
    "wheel": ("tests/deploy/test_wheel.py",),
}
# Where tests start processes, wait for them, or compute for seconds. What begins with one of these is long.
LONG = (
    "tests/benchmarks/",
    "tests/cli/batches/test_decide.py",
    "tests/cli/batches/test_pilot.py",
    "tests/cli/batches/test_returned_messages.py",
    "tests/cli/batches/test_stop.py",
    "tests/cli/events/test_bus.py",
    "tests/cli/events/test_web.py",
    "tests/cli/every_command/test_leaks.py",
    "tests/cli/installation/test_postgresql.py",
    "tests/deploy/test_wheel.py",
    "tests/lists/test_csv_reading.py",
    "tests/reporting/",
    "tests/core/work/simulated/test_freshness.py",
    "tests/features/list_sources/folders/",
    "tests/features/outbox/test_command.py",
    "tests/features/outbox/test_connections.py",
    "tests/hostile/test_leaks.py",
    "tests/events/bus/",
    "tests/events/received/test_events_in_any_order.py",
    "tests/features/dashboard/test_in_a_browser.py",
    "tests/runtime/",
    "tests/senders/test_email_story.py",
    "tests/core/database/",
    "tests/trials/",
)


def long_first(items: list[pytest.Item]) -> None:
    """Sort the tests: groups, then long tests, then the others, each in the order of the files."""
    items.sort(key=lambda item: (group(item.nodeid) is None, not item.nodeid.startswith(LONG)))


def group(test: str) -> str | None:
    return next((name for name, begins in GROUPS.items() if test.startswith(begins)), None)


class Portions(LoadScopeScheduling):
    """A portion is a group, a long test, or a file."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # else the portion with the most tests would come first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or (nodeid if nodeid.startswith(LONG) else nodeid.partition("::")[0])
