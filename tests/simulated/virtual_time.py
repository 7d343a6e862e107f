"""An event loop whose time passes only while every task waits: hours in no time, and the same in each run.

Work in threads (the database's) takes none of that time: the loop waits for it before time goes on.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REAL_SECONDS = 30  # a thread that takes longer is stuck


class VirtualClock:
    def __init__(self) -> None:
        self.elapsed = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def advance(self, **step: float) -> datetime:
        self.elapsed += timedelta(**step).total_seconds()
        return self()


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.loop.in_threads:
            return super().select(REAL_SECONDS)
        found = super().select(0)
        if found:
            return found
        if timeout is None:
            raise RuntimeError("every task waits, and nothing will ever happen")
        self.loop.clock.elapsed += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.in_threads = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        # Timers within this time are due. A year ahead, the step between two floats is larger than asyncio's default.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.clock.elapsed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: Any) -> None:
        self.in_threads -= 1
