"""Logs an outage when it begins, once a minute while it lasts, and when it is over."""

import logging
import threading

EVERY_SECONDS = 60.0
# A kind of step that has not failed for so long has no part in the outage. Longer than a lock is waited for (15 s): a
# step that fails only by that fails as seldom.
FORGOTTEN_SECONDS = 30.0


class Outage:
    """The outage of one thing, such as the database. Safe for threads; times are monotonic seconds.

    Several kinds of steps may meet it. It is over when each kind that failed has succeeded: while nothing can be
    written, reading succeeds. A kind that has not failed for a while counts as succeeded: it may never be tried again.
    """

    def __init__(self, log: logging.Logger, level: int = logging.ERROR) -> None:
        self._log = log
        self._level = level
        self._lock = threading.Lock()
        self._failed_at: dict[str, float] = {}  # by kind of step
        self._logged: str | None = None
        self._logged_at = 0.0
        self._began_at = self._last_at = 0.0
        self._why = ""

    def lasts(self, what: str, now: float, *, why: str = "", step: str = "") -> None:
        """Log `what` when it is new, and again after a minute.

        `why` is logged with it: the words of a server or driver, which change while the same outage lasts.
        """
        with self._lock:
            if self._logged is None:
                self._began_at = now
            self._failed_at[step] = self._last_at = now
            self._why = why
            if self._logged == what and now - self._logged_at < EVERY_SECONDS:
                return
            self._logged, self._logged_at = what, now
        self._log.log(self._level, "%s", f"{what}: {why}" if why else what)

    @property
    def lasted(self) -> float:
        """Seconds from the first failure of this outage to the last one so far; 0.0 if there is no outage."""
        with self._lock:
            return 0.0 if self._logged is None else self._last_at - self._began_at

    @property
    def last_at(self) -> float:
        """When a step last failed, in monotonic seconds."""
        with self._lock:
            return self._last_at

    @property
    def why(self) -> str:
        with self._lock:
            return self._why

    def over(self, message: str, now: float = 0.0, *, step: str = "") -> None:
        """A step has succeeded: log `message` if this ends an outage.

        As a warning, where the outage was an error: who saw it begin, sees it end.
        """
        with self._lock:
            self._failed_at.pop(step, None)
            if self._logged is None or any(now - at < FORGOTTEN_SECONDS for at in self._failed_at.values()):
                return
            self._failed_at.clear()
            self._logged = None
        self._log.log(min(self._level, logging.WARNING), "%s", message)
