"""A whole worker in virtual time."""

from tests.engine.conftest import bench, clock, make, make_on_both, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "make", "make_on_both", "pytest_asyncio_loop_factories"]
