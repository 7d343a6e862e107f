"""How long the last flushes of a dispatcher took, and so how long a row needs from its claim to its call.

A slot lapses soon after its time (`rate_limits.LAPSE`). On a slow database a slot that begins when it is reserved would
lapse before its row's flush has ended. So slots begin later there.
"""

from collections import deque
from datetime import timedelta

# How late a call may be for its flush: it uses its slot all the same.
LATE = timedelta(milliseconds=200)
MOST = timedelta(seconds=5)
_NONE = timedelta(0)
_KEPT = 8  # flushes


class FlushTimes:
    """How long the last flushes of one dispatcher took."""

    def __init__(self) -> None:
        self._took: deque[timedelta] = deque(maxlen=_KEPT)

    def add(self, took: timedelta) -> None:
        self._took.append(min(took, MOST))

    @property
    def shortest(self) -> timedelta:
        return min(self._took, default=_NONE)

    @property
    def longest(self) -> timedelta:
        return max(self._took, default=_NONE)

    @property
    def usual(self) -> timedelta:
        """A few long flushes among short ones do not count."""
        return sorted(self._took)[(len(self._took) - 1) // 2] if self._took else _NONE

    @property
    def lead(self) -> timedelta:
        """How much later slots begin than the flush that reserves them; not at all while flushes are short.

        Of a few long flushes all slots would begin later until they are forgotten, and an event at another worker would
        wait for them.
        """
        return max(self.usual - LATE, _NONE)
