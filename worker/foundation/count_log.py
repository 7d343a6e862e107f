"""What came, said now and then instead of each time: counts, nothing of anybody."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

EVERY_SECONDS = 10.0
T = TypeVar("T")


class CountLog(Generic[T]):
    """Counts since the start, and says them when they have changed. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger, words: Callable[[Mapping[T, int]], str]) -> None:
        """`words` says how many have come since it was said last."""
        self._log = log
        self._words = words
        self._counts: Counter[T] = Counter()
        self._said: Counter[T] = Counter()
        self._say_at = 0.0

    def add(self, what: Iterable[T], now: float) -> None:
        self._counts.update(what)
        if now >= self._say_at:
            self.say(now)

    def say(self, now: float) -> None:
        if self._counts == self._said:
            return
        self._say_at = now + EVERY_SECONDS
        self._log.info("%s; %s in all", self._words(self._counts - self._said), f"{self._counts.total():,}")
        self._said = self._counts.copy()
