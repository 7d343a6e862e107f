"""How many events each key may post. Counted in this process alone: a second one allows as many again."""

from worker.domain.limits.rate_limits import Limit


class Allowance:
    """A bucket for each key that holds what its limit allows in one period, and fills evenly. Seconds are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: dict[int, tuple[float, float]] = {}  # by key: so many at that time

    def take(self, key: int, now: float) -> float:
        """Zero, and it is taken; or after how many seconds there is one again."""
        left, at = self._left.get(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._per_second
