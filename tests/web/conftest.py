"""The application behind a real socket, over a real database; a script takes the events in, unless a test says no."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.web.site import Site


@pytest.fixture
async def start(tmp_path: Path, clock: Any) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts applications; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(url: str, **how: Any) -> Site:
            directory = tmp_path / uuid.uuid4().hex
            directory.mkdir()
            return await stack.enter_async_context(Site(url, directory, clock, **how))

        yield start


@pytest.fixture
async def site(start: Callable[..., Awaitable[Site]], sqlite_url: str) -> Site:
    """One over SQLite, whose events are taken in by a script."""
    return await start(sqlite_url)
