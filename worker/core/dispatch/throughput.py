"""How fast a dispatcher's calls end. This decides how many rows to claim and to open, and tells forecasts the pace."""

from collections import deque
from datetime import datetime, timedelta

from worker.core.limits.rate_adaptation import Stretch

LATELY = 1.0  # seconds
STRETCH = timedelta(seconds=1)  # a busy stretch is written with the first flush after this time


class Throughput:
    """Counts the ends of calls in each `span` of the last second. The best of them is the pace: rows come in chunks,
    and between two chunks no call ends."""

    def __init__(self, span: timedelta) -> None:
        self._span = span.total_seconds()
        self._spans: deque[list[int]] = deque()  # [number of the span, calls that ended in it]

    def add(self, at: float) -> None:
        """A call has ended at `at`, in the loop's seconds."""
        number = int(at / self._span)
        if self._spans and self._spans[-1][0] == number:
            self._spans[-1][1] += 1
        else:
            self._spans.append([number, 1])

    def best(self, now: float) -> int:
        """The most calls that ended in one span."""
        while self._spans and self._spans[0][0] < (now - LATELY) / self._span:
            self._spans.popleft()
        return max((calls for _, calls in self._spans), default=0)


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
