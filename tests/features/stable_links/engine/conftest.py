"""A whole worker in virtual time."""

from onboarding_worker.core.foundation.features import FEATURES
from tests.core.work.simulated.conftest import bench, clock, make, pytest_asyncio_loop_factories

__all__ = ["bench", "clock", "make", "pytest_asyncio_loop_factories"]

# The desk's tests of corrected addresses, with our own links.
collect_ignore = [] if "service_desk" in FEATURES.here else ["test_corrected_addresses.py"]
