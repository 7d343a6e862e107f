"""Publishes events from threads, in `run` and `up`: no target is waited for."""

import logging
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta

import sqlalchemy as sa

from worker.core.database.outages import reason
from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.foundation.plural import counted
from worker.core.model.meters import Meters
from worker.features.outbox.outbox_publisher import OutboxPublisher
from worker.features.outbox.outbox_targets import OutboxTargets
from worker.features.outbox.publishers.contract import Target
from worker.features.outbox.store.relay import waiting
from worker.wiring.background import Working

log = logging.getLogger(__name__)
# A run that ends publishes what it can within this time; the next run publishes the rest.
LAST_PUBLISHING = timedelta(seconds=5)
LONGEST = timedelta(minutes=1)
# The kinds of steps that need the database.
LOOKING, PUBLISHING = "looking", "publishing"


class OutboxThreads(Working):
    """A thread for each target: a target that hangs delays no other."""

    def __init__(self, outbox: OutboxTargets, targets: Mapping[str, Target], *, meters: Meters | None = None) -> None:
        self._outbox = outbox
        self._ending = False
        self._publisher = OutboxPublisher(outbox, targets, stopping=lambda: self._ending, meters=meters)
        self._going: dict[str, Future[bool]] = {}
        self._database = Outage(log, logging.WARNING)
        self._threads = ThreadPoolExecutor(max_workers=max(1, len(targets)), thread_name_prefix="publish")

    def step(self) -> None:
        """Begin to publish what is due."""
        self._begin()

    def _begin(self) -> bool:
        """Whether a thread publishes now."""
        if not self._publisher.names:
            return False
        try:
            for name in self._outbox.due():
                going = self._going.get(name)
                if going is None or going.done():
                    self._going[name] = self._threads.submit(self._publish, name)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return False
        self._log_back(LOOKING)
        return any(not going.done() for going in self._going.values())

    def _publish(self, name: str) -> bool:
        try:
            more = self._publisher.publish(name, longest=LONGEST)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, PUBLISHING)
            return False
        except Exception as error:
            log.error("%s: publishing ended with %s; the next tick tries again", name, type(error).__name__)
            return False
        self._log_back(PUBLISHING)
        return more

    def _log_unreachable(self, error: sa.exc.OperationalError, step: str) -> None:
        what = "the database cannot be used, no events are published"
        self._database.lasts(what, monotonic(), why=reason(error), step=step)

    def _log_back(self, step: str) -> None:
        self._database.over("the database is back: events are published", monotonic(), step=step)

    def finish(self, within: timedelta = LAST_PUBLISHING) -> str:
        """Publish what is possible within this time. Does not wait for a paused target."""
        until = monotonic() + within.total_seconds()
        while self._begin() and (left := until - monotonic()) > 0:
            # Those that have ended would end the wait at once, and the database would be asked again and again.
            if going := [one for one in self._going.values() if not one.done()]:
                wait(going, timeout=left, return_when=FIRST_COMPLETED)
        left_over = self._left()
        words = f"{counted(left_over, 'outgoing event')} not delivered yet; `onboard events outgoing list` says why"
        return words if left_over else ""

    def _left(self) -> int:
        if not self._publisher.names:
            return 0
        try:
            return waiting(self._outbox.database, self._publisher.names)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return 0

    def close(self) -> None:
        """End publishing: open POSTs are abandoned, and the next process publishes their events again."""
        self._ending = True
        wait(self._going.values())
        self._threads.shutdown()  # no thread has work left
        self._publisher.close()
