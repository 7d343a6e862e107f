"""The time that a dispatcher plans with: it only goes forward, and no clock can change it.

The process's clock is set by the database's again and again. If the database's clock were put back by an hour, a
dispatcher that planned with it would stand still for an hour. So its waits count the loop's seconds. Times that come
from the database (slots, the next claim) are read once, as "so long from now".
"""

import asyncio
from datetime import UTC, datetime, timedelta

from worker.core.foundation.clock import Clock

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # any time: only differences count


class SteadyTime:
    """For one loop, made on it. Its times compare with each other only, never with a time of the database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = asyncio.get_running_loop().time  # the same as a number, for what is read with each call

    def __call__(self) -> datetime:
        return _BEGINNING + timedelta(seconds=self.seconds())

    def of(self, when: datetime) -> datetime:
        """The steady time of a time of the process's clock."""
        return self() + (when - self._clock())
