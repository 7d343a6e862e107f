"""How long the last flushes of a dispatcher took, and so how long a row needs from its claim to its call.

A slot lapses soon after its time (`rate_limits.LAPSE`). On a slow database a slot that begins when it is reserved would
lapse before its row's flush has ended. So slots begin later there.
"""

from collections import deque
from datetime import timedelta

# No lead below this: a call that is a little late uses its slot all the same, and delays only the calls behind it.
LEAST = timedelta(milliseconds=50)
LEAD_MOST = timedelta(seconds=5)
_KEPT = 8  # flushes


class FlushTimes:
    """How long the last flushes of one dispatcher took."""

    def __init__(self) -> None:
        self._took: deque[timedelta] = deque([timedelta(0)], maxlen=_KEPT)

    def add(self, took: timedelta) -> None:
        self._took.append(min(took, LEAD_MOST))

    @property
    def longest(self) -> timedelta:
        return max(self._took)

    @property
    def lead(self) -> timedelta:
        """From the begin of a flush to the calls of its rows; zero while that is short.

        One long flush among short ones does not count: until it is forgotten, all slots would begin later, and an event
        at another worker would wait for them.
        """
        second = sorted(self._took)[-2:][0]
        return second if second > LEAST else timedelta(0)
