"""Limits what each sender of events may post, and each visitor may ask. It counts in this process only: a second one
allows as many again."""

from collections import OrderedDict

from worker.core.limits.rate_limits import Limit

MOST_KNOWN = 10_000  # the one that came longest ago is forgotten


class Allowance:
    """A bucket for each sender: it holds what the limit allows in one period, and fills evenly. Times are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by sender: what is left, and when

    def take(self, sender: str, now: float) -> float:
        """Count one event and return zero; or return after how many seconds it may post again."""
        left, at = self._left.pop(sender, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[sender] = (left - 1 if taken else left, now)
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / self._per_second
