"""How fast a dispatcher's calls end. This decides how many rows to claim and to open, and tells forecasts the pace."""

from collections import deque
from datetime import datetime, timedelta

from worker.domain.limits.measured_pace import Stretch

LATELY = timedelta(seconds=1)
STRETCH = timedelta(seconds=1)  # a busy stretch is written with the first flush after this time


class Throughput:
    """Counts the ends of calls in the last `flush`, and of late: rows come in chunks, with gaps."""

    def __init__(self, flush: timedelta) -> None:
        self._flush = flush.total_seconds()
        self._in_a_flush: deque[float] = deque()
        self._of_late: deque[float] = deque()

    def add(self, at: float) -> None:
        """A call has ended at `at`, in the loop's seconds."""
        self._in_a_flush.append(at)
        self._of_late.append(at)

    def expected(self, time: timedelta, now: float) -> int:
        """How many calls are expected to end within this time: as in the last flush, or at the rate of late.

        On a slow database calls come in bursts, one for each flush: then the rate is that of several of them.
        """
        lately = max(LATELY, 2 * time)
        _forget(self._in_a_flush, now - self._flush)
        _forget(self._of_late, now - lately.total_seconds())
        return max(len(self._in_a_flush), round(len(self._of_late) * (time / lately)))


class BusyStretch:
    """The calls that ended since a time, while rows waited for theirs at every flush."""

    def __init__(self, now: datetime) -> None:
        self._since = now
        self._calls = 0
        self._busy = False  # no stretch yet: the first flush begins one

    def call_ended(self) -> None:
        """A call was made, and has ended. Rows that were opened and not called do not count."""
        self._calls += 1

    def at_flush(self, now: datetime, *, waiting: bool, results: bool) -> Stretch | None:
        """The stretch that ends with this flush, if it is long enough and the flush has `results` to write it with.

        `waiting`: rows wait for their calls.
        """
        if not (self._busy and waiting):
            self._since, self._calls, self._busy = now, 0, waiting
            return None
        if not (results and self._calls) or now - self._since < STRETCH:
            return None
        stretch = Stretch(self._calls, now - self._since)
        self._since, self._calls = now, 0
        return stretch


def _forget(ends: deque[float], before: float) -> None:
    while ends and ends[0] < before:
        ends.popleft()
