"""The only module that reads a clock. All other code gets the time as an argument."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

log = logging.getLogger(__name__)

# A sample that took this many times as long as the best sample is ignored.
SLOW = 3
SLACK = timedelta(milliseconds=1)
BEST_GROWS = 1.2  # the best time grows with each sample, so that samples count again when the network becomes slower
WORTH_LOGGING = timedelta(seconds=1)


def system_clock() -> datetime:
    """The machine's own time, aware UTC."""
    return datetime.now(UTC)  # noqa: TID251 -- the only place


class SharedClock:
    """This machine's clock plus `offset`: how far it was behind the database's (negative: ahead) when last measured.

    Machines whose clocks differ agree on leases and slots, because all of them use the database's time. All parts of a
    process share this object: a new measurement counts for all of them at once.
    """

    def __init__(self, own: Clock = system_clock) -> None:
        self.own = own
        self.offset = timedelta(0)
        self._best: timedelta | None = None
        self._logged = timedelta(0)

    def __call__(self) -> datetime:
        return self.own() + self.offset

    def measured(self, *, before: datetime, theirs: datetime, after: datetime) -> None:
        """Set the offset by the database's time `theirs`, read between two readings of `own`: exact to half of that."""
        took = max(after - before, timedelta(0))
        slow = self._best is not None and took > self._best * SLOW + SLACK
        self._best = took if self._best is None else min(took, self._best * BEST_GROWS)
        if slow:
            return
        self.offset = theirs - (before + took / 2)
        if abs(self.offset - self._logged) > WORTH_LOGGING:
            self._logged = self.offset
            ahead = "behind" if self.offset > timedelta(0) else "ahead of"
            seconds = abs(self.offset).total_seconds()
            log.warning("this machine's clock is %.1f s %s the database's; the database's time counts", seconds, ahead)


def monotonic() -> float:
    """Seconds that only ever grow, for measuring how long something took."""
    return time.monotonic()
