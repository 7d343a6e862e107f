"""How fast numbers grow now: the difference between two looks, over the time between them. Pure."""

from collections import deque
from collections.abc import Mapping

OVER_SECONDS = 10.0


class Pace:
    """Belongs to one reader. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque()

    def each_second(self, totals: Mapping[str, int], at: float) -> dict[str, float]:
        """By name, how much the number has grown each second, lately; names that were not there before are left out."""
        while self._looks and at - self._looks[0][0] > OVER_SECONDS:
            self._looks.popleft()
        before_at, before = self._looks[0] if self._looks else (at, {})
        self._looks.append((at, dict(totals)))
        took = at - before_at
        if took <= 0:
            return {}
        return {name: max(number - before[name], 0) / took for name, number in totals.items() if name in before}
