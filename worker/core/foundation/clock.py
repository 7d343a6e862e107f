"""The only module that reads a clock. All other code gets the time as an argument."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

Clock = Callable[[], datetime]

log = logging.getLogger(__name__)

# For whole numbers of milliseconds: a float of seconds is sometimes wrong by one.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# A sample that took this many times as long as the best sample is ignored.
SLOW = 3
SLACK = timedelta(milliseconds=1)
BEST_GROWS = 1.2  # the best time grows with each sample, so that samples count again when the network becomes slower
WORTH_LOGGING = timedelta(seconds=1)
# Linux's CLOCK_MONOTONIC stands still while the machine sleeps, CLOCK_BOOTTIME does not. macOS has only
# CLOCK_MONOTONIC, which goes on there.
_GROWS = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def system_clock() -> datetime:
    """The machine's own time, aware UTC. A step of this clock is seen at once: processes use a `ProcessClock`."""
    return datetime.now(UTC)  # noqa: TID251 -- the only place


# Seconds that only grow, also while the machine sleeps, whatever its clock is set to. Since when is not said.
elapsed: Callable[[], float] = time.monotonic if _GROWS is None else partial(time.clock_gettime, _GROWS)
# Seconds that only ever grow, for measuring how long something took.
monotonic: Callable[[], float] = time.monotonic


class ProcessClock:
    """The time of one process: an anchor, and the seconds that have elapsed since.

    The first anchor is the machine's clock. It is read once, when this object is made, so that a later step of that
    clock changes nothing. Each measurement of the database's clock is a new anchor: machines whose clocks differ agree
    on leases and slots. All parts of a process share this object. Safe for threads.
    """

    def __init__(self, own: Clock = system_clock, elapsed: Callable[[], float] = elapsed) -> None:
        """`own` is read once, here. `elapsed` returns seconds that only grow."""
        self.elapsed = elapsed
        self._anchor = (own(), elapsed())  # replaced as a whole: other threads read it
        self._best: float | None = None

    def __call__(self) -> datetime:
        time_then, then = self._anchor
        return time_then + timedelta(0, self.elapsed() - then)

    def measured(self, *, before: float, theirs: datetime, after: float) -> None:
        """Anchor to the database's time `theirs`, read between two readings of `elapsed`: exact to half of that."""
        took = max(after - before, 0.0)
        first, slow = self._best is None, self._best is not None and took > self._best * SLOW + SLACK.total_seconds()
        self._best = took if self._best is None else min(took, self._best * BEST_GROWS)
        if slow:
            return
        read_at = before + took / 2
        time_then, then = self._anchor
        moved = theirs - (time_then + timedelta(seconds=read_at - then))
        self._anchor = (theirs, read_at)
        if abs(moved) > WORTH_LOGGING:
            whose = "this machine's clock is" if first else "this process's time was"
            ahead = "behind" if moved > timedelta(0) else "ahead of"
            log.warning(
                "%s %.1f s %s the database's; the database's time counts", whose, abs(moved).total_seconds(), ahead
            )
