"""Lets a dispatcher's calls go one after the other, each in its slot, no closer together than the rate limit allows."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from worker.foundation.clock import Clock


class SlotGate:
    """For one loop. `waiting`: how many calls wait here; which row each is for is not decided yet."""

    def __init__(self, spacing: timedelta, *, clock: Clock, halt: asyncio.Event) -> None:
        """`halt` ends all waiting: the caller checks again whether its call may be made."""
        self._spacing = spacing
        self._clock = clock
        self._halt = halt
        self._one_by_one = asyncio.Lock()  # held by the one call that waits for the next slot
        self._next_at = clock()
        self.waiting = 0

    async def wait(self, next_slot: Callable[[], datetime | None]) -> None:
        """Wait for the next slot. Then the caller picks the row: an event that came meanwhile goes first."""
        if next_slot() is None:
            return
        self.waiting += 1
        try:
            async with self._one_by_one:
                slot = next_slot()
                if slot is not None:
                    # A late call delays the calls behind it.
                    begins_at = max(slot, self._next_at)
                    self._next_at = begins_at + self._spacing
                    await self._until(begins_at)
        finally:
            self.waiting -= 1

    async def _until(self, when: datetime) -> None:
        wait = (when - self._clock()).total_seconds()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await self._halt.wait()
            except TimeoutError:
                pass
