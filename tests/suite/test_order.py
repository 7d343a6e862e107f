from pathlib import Path

from onboarding_worker.core.foundation.features import FEATURES
from tests.suite.order import GROUPS, LONG, Portions

ROOT = Path(__file__).parents[2]


def test_what_is_said_to_be_long_is_there():
    there = [name for name in LONG if not name.startswith("tests/features/") or name.split("/")[2] in FEATURES.here]
    assert [name for name in there if not (ROOT / name).exists()] == []


def test_the_tests_of_each_group_are_there():
    for begins in GROUPS.values():
        for file, _, test in (name.partition("::") for name in begins):
            assert f"def {test}" in (ROOT / file).read_text()


def test_a_portion_is_a_long_test_a_group_or_a_file():
    cases = {
        "tests/runtime/test_up.py::test_a[1]": "tests/runtime/test_up.py::test_a[1]",
        "tests/runtime/test_workers.py::test_up_with_a_broker_works[1]": "broker",
        "tests/runtime/test_hostile_messages.py::test_worker_and_bus_live_on[amqp]": "broker",
        "tests/runtime/test_hostile_messages.py::test_a": "tests/runtime/test_hostile_messages.py::test_a",
        "tests/core/test_ids.py::test_a[x::y]": "tests/core/test_ids.py",
        "tests/core/test_ids.py::test_a[box@example.com]": "tests/core/test_ids.py",
    }
    assert {test: Portions._split_scope(object.__new__(Portions), test) for test in cases} == cases
