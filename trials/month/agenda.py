"""The agenda of the simulated world: what customers do, and what providers and senders report, with its time."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime

# An act; its argument is the time at which it was due.
Act = Callable[[datetime], Awaitable[None]]
AT_ONCE = 100  # acts in parallel


class Agenda:
    def __init__(self) -> None:
        self._acts: list[tuple[datetime, int, Act]] = []
        self._count = itertools.count()

    def add(self, when: datetime, act: Act) -> None:
        heapq.heappush(self._acts, (when, next(self._count), act))

    @property
    def next_at(self) -> datetime | None:
        return self._acts[0][0] if self._acts else None

    async def act(self, now: datetime) -> None:
        """Do all acts that are due, in order of their times, and the acts that follow from them."""
        while self._acts and self._acts[0][0] <= now:
            due: list[Awaitable[None]] = []
            while len(due) < AT_ONCE and self._acts and self._acts[0][0] <= now:
                when, _, act = heapq.heappop(self._acts)
                due.append(act(when))
            await asyncio.gather(*due)
