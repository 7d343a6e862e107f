"""The fixtures of simulated workers."""

from tests.simulated.fixtures import clock, make, pytest_asyncio_loop_factories

__all__ = ["clock", "make", "pytest_asyncio_loop_factories"]
