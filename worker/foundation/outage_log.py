"""Says what lasts once, once a minute while it lasts, and when it is over: not each second, and not never."""

import logging
import threading

EVERY_SECONDS = 60.0


class Outage:
    """One thing that may be away. Safe for threads; times are monotonic seconds."""

    def __init__(self, log: logging.Logger, level: int = logging.ERROR) -> None:
        self._log = log
        self._level = level
        self._lock = threading.Lock()
        self._said: str | None = None
        self._said_at = 0.0

    def lasts(self, reason: str, now: float) -> None:
        """It is away: logged when that is news, and again after a minute."""
        with self._lock:
            if self._said == reason and now - self._said_at < EVERY_SECONDS:
                return
            self._said, self._said_at = reason, now
        self._log.log(self._level, "%s", reason)

    def over(self, news: str) -> None:
        """It is there; logged when it was away before."""
        with self._lock:
            if self._said is None:
                return
            self._said = None
        self._log.info("%s", news)
