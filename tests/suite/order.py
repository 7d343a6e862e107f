"""In which order, and in which portions, xdist gives the tests to its processes.

Its `loadgroup` gives out one test at a time, in the order of the files: a process that gets a long test last keeps the
others waiting, each fixture of a module is made in each process, and the bookkeeping of 14,000 portions takes as long
as many tests. Here the long tests and the groups come first, one by one, and then the other tests by files.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

# Where tests start processes, wait for them, or compute for seconds. What begins with one of these is long.
LONG = (
    "tests/benchmarks/",
    "tests/cli/test_bus.py",
    "tests/cli/test_decide.py",
    "tests/cli/test_leaks.py",
    "tests/cli/test_outbox.py",
    "tests/cli/test_pilot.py",
    "tests/cli/test_postgresql.py",
    "tests/cli/test_returned_messages.py",
    "tests/cli/test_roles.py",
    "tests/cli/test_service_desk.py",
    "tests/cli/test_stop.py",
    "tests/cli/test_web.py",
    "tests/deploy/test_wheel.py",
    "tests/domain/intake/test_csv_reading.py",
    "tests/engine/reporting/",
    "tests/engine/steps/test_freshness.py",
    "tests/hostile/test_leaks.py",
    "tests/hostile/test_openapi.py",
    "tests/inbound/bus/",
    "tests/inbound/folders/",
    "tests/inbound/received/test_events_in_any_order.py",
    "tests/inbound/web/dashboard/test_in_a_browser.py",
    "tests/runtime/",
    "tests/senders/test_email_story.py",
    "tests/store/base/",
    "tests/store/operators/test_report_rows.py",
    "tests/trials/",
)


def long_first(items: list[pytest.Item]) -> None:
    """Sort the tests: groups, then long tests, then the others, each in the order of the files."""
    items.sort(key=lambda item: (item.get_closest_marker("xdist_group") is None, not item.nodeid.startswith(LONG)))


class Portions(LoadGroupScheduling):
    """A portion is a group, a long test, or a file."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # else the portion with the most tests would come first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        group: str = super()._split_scope(nodeid)
        return group if group != nodeid or nodeid.startswith(LONG) else nodeid.partition("::")[0]
