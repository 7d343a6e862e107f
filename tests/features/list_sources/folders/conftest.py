"""Every test here has a clock of its own."""

from tests.simulated.fixtures import bench, clock, make, make_on_both, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "make", "make_on_both", "pytest_asyncio_loop_factories"]
