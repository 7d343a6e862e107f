"""Runs tasks later, in the customers' time, which may run faster than real time."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

DelayedTask = Callable[[], Coroutine[Any, Any, None]]


class DelayedTasks:
    """`scale`: how many seconds of the customers' time pass in one real second. With 86,400 a day takes a second."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def later(self, after: timedelta, begin_task: DelayedTask) -> None:
        """Begin a task after that much of the customers' time. Each task has a timer: a million tasks may wait."""
        self._idle.clear()

        def begin() -> None:
            self._timers.discard(timer)
            task = loop.create_task(begin_task())
            self._tasks.add(task)
            task.add_done_callback(self._over)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds(after), begin)
        self._timers.add(timer)

    async def wait(self, time: timedelta) -> None:
        """Wait for that much of the customers' time."""
        await asyncio.sleep(self._seconds(time))

    async def idle(self) -> None:
        """Return when no task waits or runs."""
        await self._idle.wait()

    def forget(self) -> None:
        """Cancel all waiting and running tasks."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            self._idle.set()

    async def stop(self) -> None:
        """Cancel all tasks, and wait for their end."""
        running = list(self._tasks)
        self.forget()
        await asyncio.gather(*running, return_exceptions=True)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not self._tasks and not self._timers:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = task.get_loop()
            loop.call_exception_handler({"message": "the sandbox failed", "exception": error, "task": task})

    def _seconds(self, time: timedelta) -> float:
        return max(0.0, time.total_seconds()) / self._scale
