"""How long a row needs from its claim to its call, as this dispatcher's last transactions show.

A slot lapses soon after its time (`rate_limits.LAPSE`). On a slow database a slot that begins when it is reserved would
lapse before its row's attempt is written. So slots begin later there, and attempts are written earlier.
"""

from collections import deque
from datetime import timedelta

# No lead below this: a call that is a little late uses its slot all the same, and delays only the calls behind it.
LEAST = timedelta(milliseconds=50)
LEAD_MOST = timedelta(seconds=5)
QUICK = timedelta(milliseconds=50)  # a flush that takes no longer needs no earlier begin
_KEPT = 8  # transactions of each kind


class DatabaseLead:
    """The longest of the last transactions of one dispatcher."""

    def __init__(self) -> None:
        self._claims: deque[timedelta] = deque(maxlen=_KEPT)
        self._flushes: deque[timedelta] = deque(maxlen=_KEPT)

    def claimed(self, took: timedelta) -> None:
        self._claims.append(took)

    def flushed(self, took: timedelta) -> None:
        self._flushes.append(took)

    @property
    def opening(self) -> timedelta:
        """How much earlier attempts are written: the time of a flush, and of the flush that may run before it."""
        longest = max(self._flushes, default=timedelta(0))
        return min(2 * longest, LEAD_MOST) if longest > QUICK else timedelta(0)

    @property
    def lead(self) -> timedelta:
        """From the begin of a claim to the calls of its rows; zero while that is short."""
        lead = min(max(self._claims, default=timedelta(0)) + self.opening, LEAD_MOST)
        return lead if lead > LEAST else timedelta(0)
