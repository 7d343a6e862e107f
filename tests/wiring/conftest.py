"""The fixtures of simulated workers."""

from tests.simulated.fixtures import bench, clock, inlet, make, make_on_both, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "inlet", "make", "make_on_both", "pytest_asyncio_loop_factories"]
