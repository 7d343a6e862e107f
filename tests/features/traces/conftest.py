"""A whole worker in virtual time."""

from tests.simulated.fixtures import bench, clock, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "make", "pytest_asyncio_loop_factories"]
