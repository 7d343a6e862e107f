"""Logs counts now and then instead of a line for each event. Counts only, no personal data."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from worker.core.foundation.clock import monotonic

EVERY_SECONDS = 10.0
T = TypeVar("T")


class CountLog(Generic[T]):
    """Counts since the start, and logs the counts when they have changed. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger, words: Callable[[Mapping[T, int]], str]) -> None:
        """`words` makes the text of the counts since the last line."""
        self._log = log
        self._words = words
        self._counts: Counter[T] = Counter()
        self._logged: Counter[T] = Counter()
        self._next_at = 0.0

    def add(self, what: Iterable[T], now: float) -> None:
        self._counts.update(what)
        self.write_if_due(now)

    def write_if_due(self, now: float) -> None:
        """For a loop that goes on while nothing comes: else the end of a burst is logged when the next one begins."""
        if now >= self._next_at:
            self.write(now)

    def write(self, now: float) -> None:
        if self._counts == self._logged:
            return
        self._next_at = now + EVERY_SECONDS
        self._log.info("%s; %s in all", self._words(self._counts - self._logged), f"{self._counts.total():,}")
        self._logged = self._counts.copy()


@asynccontextmanager
async def logged(counts: CountLog[Any]) -> AsyncIterator[None]:
    """Logs the counts while the block lasts, and at its end: the last ones are not left out."""
    writing = asyncio.create_task(_keep_writing(counts))
    try:
        yield
    finally:
        writing.cancel()
        counts.write(monotonic())


async def _keep_writing(counts: CountLog[Any]) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        counts.write(monotonic())
