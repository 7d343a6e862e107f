"""Logs at DEBUG why a dispatcher does not claim, open or call: one line when a reason changes, not one in each loop."""

import logging


class DecisionLog:
    """The last logged reason of each decision of one dispatcher."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._reasons: dict[str, str] = {}

    def not_done(self, what: str, reason: str) -> None:
        """Log that the dispatcher does not do this, unless this reason was the last one logged for it."""
        if self._log.isEnabledFor(logging.DEBUG) and self._reasons.get(what) != reason:
            self._reasons[what] = reason
            self._log.debug("%s: no %s: %s", self._name, what, reason)

    def done(self, what: str) -> None:
        """The dispatcher did this: if it stops again for the same reason, that is logged again."""
        self._reasons.pop(what, None)
