"""What the bus has brought, said now and then: counts, nothing of anybody."""

import logging
from collections import Counter
from collections.abc import Iterable

from worker.events import Outcome

EVERY_SECONDS = 10.0


class Tally:
    """Counts since the start, and says them when they have changed. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._counts: Counter[Outcome] = Counter()
        self._said: Counter[Outcome] = Counter()
        self._say_at = 0.0

    def add(self, outcomes: Iterable[Outcome], now: float) -> None:
        self._counts.update(outcomes)
        if now >= self._say_at:
            self.say(now)

    def say(self, now: float) -> None:
        if self._counts == self._said:
            return
        self._say_at = now + EVERY_SECONDS
        new = ", ".join(f"{self._counts[one] - self._said[one]:,} {NAMES[one]}" for one in NAMES)
        self._log.info("%s; %s in all", new, f"{self._counts.total():,}")
        self._said = self._counts.copy()


NAMES = {
    Outcome.TAKEN: "taken",
    Outcome.DUPLICATE: "known already",
    Outcome.IGNORED: "overtaken",
    Outcome.REFUSED: "refused",
}
