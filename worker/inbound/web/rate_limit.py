"""Limits the events that each sender may post. It counts in this process only: a second one allows as many again."""

from worker.domain.limits.rate_limits import Limit


class Allowance:
    """A bucket for each sender: it holds what the limit allows in one period, and fills evenly. Times are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: dict[str, tuple[float, float]] = {}  # by sender: events left, and when

    def take(self, sender: str, now: float) -> float:
        """Count one event and return zero; or return after how many seconds it may post again."""
        left, at = self._left.get(sender, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[sender] = (left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._per_second
