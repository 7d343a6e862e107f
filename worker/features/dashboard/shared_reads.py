"""One reader of the database for all viewers: what one browser has just asked is the answer for the others too."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from worker.core.foundation.clock import monotonic

FRESH_SECONDS = 1.0
MOST = 200  # answers that are kept


class SharedReads:
    """Belongs to one loop."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        """The answer for this key: of `read`, or of a reading that is under way or has just ended."""
        asked_at, task = self._answers.get(key, (0.0, None))
        if task is None or (task.done() and self._now() - asked_at > FRESH_SECONDS):
            task = asyncio.ensure_future(_of(read))
            task.add_done_callback(lambda done: self._ended(key, done))
            self._answers.pop(key, None)
            self._answers[key] = (self._now(), task)
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        # A viewer who goes away does not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """After a change: the next viewer sees it."""
        self._answers.clear()

    def _ended(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if self._answers.get(key, (0.0, None))[1] is not task:
            return
        if task.cancelled() or task.exception() is not None:
            del self._answers[key]  # the next viewer asks again
        else:
            self._answers[key] = (self._now(), task)  # fresh from its end on


async def _of(read: Callable[[], Awaitable[Any]]) -> Any:
    return await read()
