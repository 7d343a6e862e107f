"""Removes events that were given up, or whose target is not configured any more. A chunk at a time."""

import logging
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from worker.core.foundation.clock import Clock, monotonic
from worker.core.work.ticks import Ticks
from worker.features.outbox.outbox_targets import OutboxTargets
from worker.reporting.store.look import Looked
from worker.wiring.container import Parts
from worker.wiring.sweep import SweepStep

log = logging.getLogger(__name__)
KEPT_FOR = timedelta(days=30)  # they can be put back for so long
# How long a process rests after it found nothing to remove: a look costs little, and nothing waits for it.
LOOK_SECONDS = 600.0


class OldEvents:
    """One for each process. What is old enough is decided by the database's own time: nothing brings it back."""

    def __init__(self, outbox: OutboxTargets, database_clock: Clock) -> None:
        self._outbox, self._clock = outbox, database_clock
        self._ticks = Ticks(LOOK_SECONDS)
        self._more = False

    def step(self, _looked: Looked | None = None) -> None:
        if not self._more and not self._ticks.begin(monotonic()):
            return
        try:
            gone = self._outbox.forget_unpublished(before=self._clock() - KEPT_FOR)
        except sa.exc.DBAPIError as error:  # nothing was changed, and nothing waits for it
            log.warning("old events: %s; trying again later", type(error.orig).__name__)
            gone = 0
        if gone:
            log.info("%d events were removed that no target accepted", gone)
        self._more = gone > 0


def _swept(parts: Parts) -> Callable[[Looked], None]:
    outbox = OutboxTargets.of(parts.settings, parts.database, parts.clock)
    return OldEvents(outbox, parts.database_clock).step


SWEEP_STEP = SweepStep(_swept)
