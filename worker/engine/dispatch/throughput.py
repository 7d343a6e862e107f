"""How fast a dispatcher's calls end. This decides how many rows to claim and to open ahead of the calls."""

from collections import deque
from datetime import datetime, timedelta

LATELY = timedelta(seconds=1)


class Throughput:
    """Counts the ends of calls in the last `flush`, and in the last second: rows come in chunks, with gaps."""

    def __init__(self, flush: timedelta) -> None:
        self._flush = flush
        self._in_a_flush: deque[datetime] = deque()
        self._in_a_second: deque[datetime] = deque()

    def add(self, at: datetime) -> None:
        """A call has ended at `at`."""
        self._in_a_flush.append(at)
        self._in_a_second.append(at)

    def in_a_flush(self, now: datetime) -> int:
        """How many calls are expected to end within the next flush: as in the last flush or the last second."""
        _forget(self._in_a_flush, now - self._flush)
        return max(len(self._in_a_flush), round(self.within(self._flush, now)))

    def within(self, time: timedelta, now: datetime) -> float:
        """How many calls are expected to end within this time: at the rate of the last second."""
        _forget(self._in_a_second, now - LATELY)
        return len(self._in_a_second) * (time / LATELY)


def _forget(ends: deque[datetime], before: datetime) -> None:
    while ends and ends[0] < before:
        ends.popleft()
