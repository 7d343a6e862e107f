"""Every test here runs on a loop with virtual time."""

import pytest

from tests.features.outbox.publishing.targets import SUBSCRIPTIONS
from tests.simulated.fixtures import bench, clock, inlet, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "inlet", "make", "pytest_asyncio_loop_factories"]


@pytest.fixture
def world(make):
    return make(more=SUBSCRIPTIONS)
