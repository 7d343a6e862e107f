"""`web` looks for what people are to be alerted of, and sends it: the workers, which do so too, may all be gone."""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from worker.domain.model.meters import Meters
from worker.engine.outbox_publisher import OutboxPublisher
from worker.engine.outbox_targets import OutboxTargets
from worker.foundation.clock import Clock, monotonic
from worker.foundation.outage_log import Outage
from worker.inbound.web.batching import InThread
from worker.publishers.alert_targets import alert_targets
from worker.settings import Settings
from worker.store.base.outages import reason
from worker.store.maintenance.alerts import LOOK_EVERY, Alerts

log = logging.getLogger(__name__)
LONGEST = timedelta(seconds=30)


class Watch:
    def __init__(
        self,
        alerts: Alerts,
        outbox: OutboxTargets,
        publisher: OutboxPublisher,
        is_ready: Callable[[], bool],
        now: Clock,
        ending: threading.Event,
    ) -> None:
        """`ending` is set at the end: the publisher stops by it, since the process waits for its thread."""
        self._alerts, self._outbox, self._publisher = alerts, outbox, publisher
        self._is_ready, self._now, self._ending = is_ready, now, ending
        self._outage = Outage(log)

    async def keep_watching(self, in_thread: InThread) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY.total_seconds())
                await in_thread(self.look)
        finally:
            self._ending.set()

    def look(self) -> None:
        """Look once, and send what is due. Blocks."""
        if not self._is_ready():
            return
        try:
            self._alerts.look(now=self._now())
            due = set(self._outbox.due())
            for name in self._publisher.names:
                if name in due and not self._ending.is_set():
                    self._publisher.publish(name, longest=LONGEST)
            self._outage.over("alerts are looked for again")
        except sa.exc.OperationalError as error:
            what = "the database cannot be used, no alerts are looked for"
            self._outage.lasts(what, monotonic(), why=reason(error))
        except Exception as error:  # a bug must not end the watch
            self._outage.lasts(f"looking for alerts ended with {type(error).__name__}; it is tried again", monotonic())


def watch(
    alerts: Alerts | None,
    outbox: OutboxTargets,
    settings: Settings,
    *,
    meters: Meters,
    is_ready: Callable[[], bool],
    now: Clock,
) -> Watch | None:
    """None where nobody is to be alerted, and on SQLite: there one process publishes, the one that works."""
    if alerts is None or outbox.database.is_sqlite:
        return None
    ending = threading.Event()
    publisher = OutboxPublisher(outbox, alert_targets(settings), stopping=ending.is_set, meters=meters)
    return Watch(alerts, outbox, publisher, is_ready, now, ending)
