"""A step of the sweep: seals the audit log's new entries, and now and then writes the chain's head into the log.

Logs are kept elsewhere than the database. So a head in them shows whether the chain was made anew.
"""

import logging

from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.work.ticks import Ticks
from worker.features.audit.store.sealing import NotSigned, Seals

log = logging.getLogger(__name__)
HEAD_EVERY_SECONDS = 3600.0


class Sealing:
    """One for each process: it remembers when it wrote the head."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals
        self._refused = Outage(log)
        self._heads = Ticks(HEAD_EVERY_SECONDS)

    def seal(self) -> None:
        """Seal what was added. Raises sqlalchemy.exc.OperationalError during an outage of the database."""
        try:
            end = self._seals.seal()
        except NotSigned as error:
            self._refused.lasts(f"{error}, so no entry is sealed: run `onboard audit verify`", monotonic())
            return
        self._refused.over("the audit log is sealed again")
        if end is not None and self._heads.begin(monotonic()):
            log.info("audit log: its head is %s", end)
