"""Limits the events that each key may post. It counts in this process only: a second process allows as many again."""

from worker.domain.limits.rate_limits import Limit


class Allowance:
    """A bucket for each key that holds what its limit allows in one period, and fills evenly. Seconds are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: dict[int, tuple[float, float]] = {}  # by key: events left, and when

    def take(self, key: int, now: float) -> float:
        """Count one event and return zero; or return after how many seconds the key may post again."""
        left, at = self._left.get(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._per_second
