"""The fixtures of simulated workers."""

from tests.simulated.fixtures import bench, clock, inlet, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "inlet", "make", "pytest_asyncio_loop_factories"]
