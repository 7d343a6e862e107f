"""Logs an outage when it begins, once a minute while it lasts, and when it is over."""

import logging
import threading

EVERY_SECONDS = 60.0


class Outage:
    """The outage of one thing, such as the database. Safe for threads; times are monotonic seconds."""

    def __init__(self, log: logging.Logger, level: int = logging.ERROR) -> None:
        self._log = log
        self._level = level
        self._lock = threading.Lock()
        self._logged: str | None = None
        self._logged_at = 0.0

    def lasts(self, reason: str, now: float) -> None:
        """Log `reason` when it is new, and again after a minute."""
        with self._lock:
            if self._logged == reason and now - self._logged_at < EVERY_SECONDS:
                return
            self._logged, self._logged_at = reason, now
        self._log.log(self._level, "%s", reason)

    def over(self, message: str) -> None:
        """Log `message` if there was an outage."""
        with self._lock:
            if self._logged is None:
                return
            self._logged = None
        self._log.info("%s", message)
