"""Every test here runs on a loop with a time of its own."""

from tests.simulated.fixtures import bench, clock, inlet, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "inlet", "make", "pytest_asyncio_loop_factories"]
