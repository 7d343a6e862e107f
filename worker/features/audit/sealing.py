"""A step of the sweep: seals the audit log's new entries, and now and then writes the chain's head into the log.

Logs are kept elsewhere than the database. So a head in them shows whether the chain was made anew. A process that runs
for long shows it too: it looks at the head by itself, and refuses one that is older than one before.
"""

import logging

from worker.core.foundation.clock import Clock, monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.work.ticks import Ticks
from worker.features.audit.store.sealing import NotSigned, Seals

log = logging.getLogger(__name__)
HEAD_EVERY_SECONDS = 3600.0
LOOK_EVERY_SECONDS = 10.0


class Sealing:
    """One for each process: it remembers when it looked, and when it wrote the head."""

    def __init__(self, seals: Seals, clock: Clock) -> None:
        self._seals, self._clock = seals, clock
        self._refused = Outage(log)
        self._heads, self._looks = Ticks(HEAD_EVERY_SECONDS), Ticks(LOOK_EVERY_SECONDS)

    def step(self, *, unsealed: bool) -> None:
        """Seal what was added; now and then look at the head all the same. Raises as `seal`."""
        if self._looks.begin(monotonic()) or unsealed:
            self.seal()

    def seal(self) -> None:
        """Seal what was added. Raises sqlalchemy.exc.OperationalError during an outage of the database."""
        try:
            end = self._seals.seal()
        except NotSigned as error:
            seen = f" --head {error.seen}" if error.seen is not None else ""
            self._refused.lasts(f"{error}, so no entry is sealed: run `onboard audit verify{seen}`", monotonic())
            self._seals.refused(now=self._clock())
            return
        self._refused.over("the audit log is sealed again")
        if end is not None and self._heads.begin(monotonic()):
            log.info("audit log: its head is %s", end)
