"""Mail has connections of its own, so each test runs on both loops, as those of tests/http do."""

from tests.http.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
