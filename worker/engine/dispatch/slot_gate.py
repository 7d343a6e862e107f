"""When a dispatcher's next call may go: one after the other, each in its slot, no closer than the limit lets."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from worker.foundation.clock import Clock


class SlotGate:
    """Lives on one loop. `waiting`: how many stand before it; what each will call for is not decided yet."""

    def __init__(self, spacing: timedelta, *, clock: Clock, halt: asyncio.Event) -> None:
        """`halt` ends the waiting: whoever comes through then looks again whether its call may be made."""
        self._spacing = spacing
        self._clock = clock
        self._halt = halt
        self._one_by_one = asyncio.Lock()  # held by whoever waits for the next slot
        self._next_at = clock()
        self.waiting = 0

    async def wait(self, next_slot: Callable[[], datetime | None]) -> None:
        """Wait for the next slot. Whose it is turns out then: an event that came meanwhile goes first."""
        if next_slot() is None:
            return
        self.waiting += 1
        try:
            async with self._one_by_one:
                slot = next_slot()
                if slot is not None:
                    # One that is late moves those behind it.
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
