"""An event loop whose time passes only while every task waits: hours in no time, and the same in each run.

Work for threads (the database's) takes none of that time. It runs while every task waits, one piece after the other in
the order in which it was given: which thread is first is never left to the machine. TEST_THREAD_ORDER=7 (any number)
draws other orders, to find what depends on them.
"""

import asyncio
import os
import random
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ORDER = os.environ.get("TEST_THREAD_ORDER")


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
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.loop.run_next():
            return super().select(0)
        if timeout is None:
            raise RuntimeError("every task waits, and nothing will ever happen")
        self.loop.clock.elapsed += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._for_threads: list[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._drawn = random.Random(ORDER) if ORDER else None  # noqa: S311
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        # Timers within this time are due. A year ahead, the step between two floats is larger than asyncio's default.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.clock.elapsed

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        self._for_threads.append((done, func, args))
        return done

    @property
    def in_threads(self) -> int:
        """How many pieces of work were given to threads and are not done."""
        return len(self._for_threads)

    def run_next(self) -> bool:
        """Run one piece of the work that was given to threads; whether there was any."""
        if not self._for_threads:
            return False
        index = self._drawn.randrange(len(self._for_threads)) if self._drawn else 0
        done, func, args = self._for_threads.pop(index)
        if done.cancelled():  # a thread pool does not begin such work either
            return True
        try:
            result = func(*args)
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(result)
        return True
