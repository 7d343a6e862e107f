"""Each call runs on both loops: the worker's own, and asyncio's where uvloop is not installed."""

import asyncio
from collections.abc import Callable, Mapping

from worker.foundation.event_loop import new_event_loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"worker": new_event_loop, "asyncio": asyncio.new_event_loop}
