"""Logs refused requests: how many, and why the last one was refused. Once a minute at most, and without values."""

import logging

EVERY_SECONDS = 60.0


class Refusals:
    """Belongs to one loop. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._since = 0
        self._logged_at: float | None = None

    def refused(self, source: str, why: str, now: float) -> None:
        """`source` and `why` hold nothing of the request: the account's name is the configured one."""
        self._since += 1
        if self._logged_at is not None and now - self._logged_at < EVERY_SECONDS:
            return
        self._log.warning("%d refused; the last for %s: %s", self._since, source, why)
        self._logged_at, self._since = now, 0
