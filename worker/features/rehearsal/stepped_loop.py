"""An event loop whose time passes only while every task waits: days in no time, and the same in each run.

Work for threads is done at once, on the loop's own thread, so no machine decides which thread is first.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any


class _Stepping(selectors.DefaultSelector):
    loop: "SteppedLoop"

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None:
            raise RuntimeError("every task waits, and nothing will ever happen")
        self.loop.elapsed += timeout
        return []


class SteppedLoop(asyncio.SelectorEventLoop):
    """`start` is the time of its beginning, aware UTC; `elapsed` are the seconds since then."""

    def __init__(self, start: datetime) -> None:
        self.start, self.elapsed = start, 0.0
        selector = _Stepping()
        selector.loop = self
        super().__init__(selector)
        # Timers within this time are due. A year ahead, the step between two floats is larger than asyncio's default.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        """The time of the clock on this loop's wall."""
        return self.start + timedelta(seconds=self.elapsed)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done
