"""The event loop of each process: uvloop's where it is installed, else asyncio's (docs/decisions/0005)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # imported here: a command that makes no call needs no loop
    except ImportError:  # not for Windows and PyPy
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def runner(make: Callable[[], asyncio.AbstractEventLoop] | None = None) -> asyncio.Runner:
    """Runs coroutines one after the other, on a loop of `make`; None: of `new_event_loop`."""
    return asyncio.Runner(loop_factory=make or new_event_loop)


def run(main: Coroutine[Any, Any, T], make: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """As asyncio.run, on a loop of `make`; None: of `new_event_loop`."""
    with runner(make) as once:
        return once.run(main)
