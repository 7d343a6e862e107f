"""The one place that reads a clock. Everything else is given the time."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

log = logging.getLogger(__name__)

# A sample that took this many times as long as the best says less than the one before it.
SLOW = 3
SLACK = timedelta(milliseconds=1)
FORGETS = 1.2  # the best counts for less with each sample, so that a network that has become slower is believed
WORTH_SAYING = timedelta(seconds=1)


def system_clock() -> datetime:
    """The machine's own time, aware UTC."""
    return datetime.now(UTC)  # noqa: TID251 -- the one place


class SharedClock:
    """This machine's clock, moved by what it is behind the database's (negative: ahead), as last measured.

    Leases and slots of machines whose clocks differ agree because each of them reckons in the database's time.
    Everybody holds this object: what is measured anew counts for all of them at once.
    """

    def __init__(self, own: Clock = system_clock) -> None:
        self.own = own
        self.offset = timedelta(0)
        self._best: timedelta | None = None
        self._said = timedelta(0)

    def __call__(self) -> datetime:
        return self.own() + self.offset

    def measured(self, *, before: datetime, theirs: datetime, after: datetime) -> None:
        """Set it by the database's time `theirs`, asked for between two readings of `own`: right to half that time."""
        took = max(after - before, timedelta(0))
        slow = self._best is not None and took > self._best * SLOW + SLACK
        self._best = took if self._best is None else min(took, self._best * FORGETS)
        if slow:
            return
        self.offset = theirs - (before + took / 2)
        if abs(self.offset - self._said) > WORTH_SAYING:
            self._said = self.offset
            ahead = "behind" if self.offset > timedelta(0) else "ahead of"
            seconds = abs(self.offset).total_seconds()
            log.warning("this machine's clock is %.1f s %s the database's, whose time counts", seconds, ahead)


def monotonic() -> float:
    """Seconds that only ever grow, for measuring how long something took."""
    return time.monotonic()
