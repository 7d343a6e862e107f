"""What lines of the log are about, and counts of what comes often. Which lines are written, and how: `runtime.logs`.

Lines carry ids: which account, channel, target, batch and job a line is about. Never a customer's. A block names what
it works on, and each line that is written inside it has these ids, a library's line too. A line that knows more says so
itself: `log.info(…, extra={"job": 12})`.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from onboarding_worker.core.foundation.clock import monotonic

OURS = "onboarding_worker"
Id = str | int
IDS = ("account", "channel", "target", "batch", "job")
_ids: ContextVar[Mapping[str, Id]] = ContextVar("ids of log lines")


@contextmanager
def about(**ids: Id) -> Iterator[None]:
    """The lines of this block, and of the tasks that it starts, have these ids besides those of the block around it."""
    token = _ids.set({**_ids.get({}), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OURS


def ids_of(record: logging.LogRecord) -> dict[str, Id]:
    """The ids of a line: those of its block, and of a line of ours those that it names itself."""
    named = record.__dict__ if is_ours(record) else {}
    found = {**_ids.get({}), **{name: named[name] for name in IDS if name in named}}
    return {name: found[name] for name in IDS if name in found}


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
    import asyncio  # here: `--help` needs no loop, and it is a quarter of its time

    async def keep_writing() -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            counts.write(monotonic())

    writing = asyncio.create_task(keep_writing())
    try:
        yield
    finally:
        writing.cancel()
        counts.write(monotonic())
