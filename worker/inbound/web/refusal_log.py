"""Says that strangers were refused: how many, and why the last one was, once a minute at most, naming no value."""

import logging

EVERY_SECONDS = 60.0


class Refusals:
    """Belongs to one loop. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._since = 0
        self._said_at: float | None = None

    def refused(self, source: str, why: str, now: float) -> None:
        """`source` and `why` are words of ours: the account's name as it is configured, never as it was asked for."""
        self._since += 1
        if self._said_at is not None and now - self._said_at < EVERY_SECONDS:
            return
        self._log.warning("%d refused; the last for %s: %s", self._since, source, why)
        self._said_at, self._since = now, 0
