"""Steps the time of a worker from one due time to the next, and has everything worked that is due then.

Time stands still while work is done, and passes where a call waits for its slot.
"""

import asyncio
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.core.database.database import Database
from worker.features.rehearsal.store.happenings import next_due
from worker.runtime.embedded import Embedded

# What becomes due within one step is worked together.
STEP = timedelta(minutes=5)
# Work that is due and cannot be done now (its account is stopped) is looked at again, at the latest after this.
LONGEST_WAIT = timedelta(hours=1)
# Time passes only while all tasks wait, so that this wait ends when all work that was begun is done, or waits too.
UNTIL_ALL_WAIT = 0.001
FAR = timedelta(days=366)


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


@dataclass
class Steps:
    """`arrived` is set when something comes from outside. `done`: a value that changes with each call and message."""

    embedded: Embedded
    database: Database
    loop: SteppedLoop
    arrived: asyncio.Event
    done: Callable[[], object]
    _wait: timedelta = STEP
    _before: object = None

    async def until(self, end: datetime, *, show: Callable[[datetime], None]) -> None:
        """`show` is called with the time after each step."""
        while self.loop.now() < end:
            self.arrived.clear()
            await self._work()
            await self._rest(min(self._next(), end))
            show(self.loop.now())

    async def _work(self) -> None:
        await self.embedded.tick()
        await asyncio.sleep(UNTIL_ALL_WAIT)
        await self.embedded.runner.wait_until_idle()

    def _next(self) -> datetime:
        """When there is work again: at once while work gets done, and more and more rarely while none does."""
        now = self.loop.now()
        overdue, next_at = next_due(self.database, now=now)
        if overdue is None:
            return next_at or now + FAR
        done = (overdue, self.done())
        self._wait = STEP if done != self._before else min(self._wait * 2, LONGEST_WAIT)
        self._before = done
        return min(next_at or now + FAR, now + self._wait)

    async def _rest(self, until: datetime) -> None:
        """Let time pass until then, or until something arrives; then to the end of the step that has begun."""
        try:
            async with asyncio.timeout(max((until - self.loop.now()).total_seconds(), 0.0)):
                await self.arrived.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(-self.loop.elapsed % STEP.total_seconds())
