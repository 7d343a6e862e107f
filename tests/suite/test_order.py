from pathlib import Path

import pytest

from tests.suite.order import LONG, Portions

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", LONG)
def test_what_is_said_to_be_long_is_there(name):
    assert (ROOT / name).exists()


@pytest.mark.parametrize(
    ("test", "portion"),
    [
        ("tests/runtime/test_up.py::test_a[1]", "tests/runtime/test_up.py::test_a[1]"),
        ("tests/runtime/test_workers.py::test_a[1]@broker", "broker"),
        ("tests/domain/test_ids.py::test_a[x::y]", "tests/domain/test_ids.py"),
        ("tests/domain/test_ids.py::test_a[box@example.com]", "tests/domain/test_ids.py"),
    ],
)
def test_a_portion_is_a_long_test_a_group_or_a_file(test, portion):
    assert Portions._split_scope(object.__new__(Portions), test) == portion
