"""Every test here runs on a loop with virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.events.event_receiver import Receiver
from tests.simulated.bench import Bench
from tests.simulated.virtual_time import VirtualClock, VirtualLoop
from tests.simulated.world import World


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture
async def clock() -> VirtualClock:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.clock


@pytest.fixture
async def make(url: str, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Callable[..., World]]:
    """Makes the test's worker process, with these answers of its provider and these settings."""
    with ExitStack() as opened:
        yield lambda outcomes=(), **how: opened.enter_context(World(url, tmp_path, clock, outcomes, **how))


@pytest.fixture
async def bench(clock: VirtualClock) -> Bench:
    """For a dispatcher over rows in memory."""
    return Bench(clock, asyncio.Event())


@pytest.fixture
async def inlet(make: Callable[..., World]) -> Callable[..., tuple[World, Receiver]]:
    """A world, and the receiver of its events."""

    def prepare(**how: Any) -> tuple[World, Receiver]:
        world = make(**how)
        return world, world.receiver()

    return prepare
