"""Every test here has a clock of its own."""

from functools import partial

import pytest

from tests.features.list_sources.folders.box import Box
from tests.simulated.fixtures import bench, clock, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "make", "pytest_asyncio_loop_factories"]


@pytest.fixture
def world(make):
    return make()


@pytest.fixture
def box(world, tmp_path):
    """Opens a folder of this machine, for one process after the other."""
    (tmp_path / "in").mkdir()
    return partial(Box, world, tmp_path / "in")
