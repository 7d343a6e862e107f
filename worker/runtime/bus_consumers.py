"""Consumes all queues of events of a configuration: one consumer, thread and connection for each, and one inbox."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from worker.core.foundation.clock import ProcessClock
from worker.core.foundation.outage_log import Outage
from worker.core.model.wakeups import Wake
from worker.events.bus.connection import Link
from worker.events.bus.consumer import BusConsumer
from worker.events.bus.rabbitmq import amqp_link
from worker.events.bus.sources import Source
from worker.events.bus.streams import stream_link
from worker.runtime.bus_inbox import DatabaseInbox
from worker.settings.model import Settings

log = logging.getLogger(__name__)


def link_to(source: Source, most: int, warn: Callable[[str], None]) -> AbstractContextManager[Link]:
    """An open connection that takes the source's messages."""
    return amqp_link(source, most, warn) if source.topology.on_amqp else stream_link(source)


class Consumers:
    """Consumers with the database that they store events in."""

    def __init__(self, settings: Settings, sources: Sequence[Source], wake: Wake) -> None:
        """`wake` is called after a commit, from any of the threads, and must not wait."""
        # One for all of them: it says that this process runs, which is then one process in `onboard status`.
        self._inbox = DatabaseInbox(settings)
        database = Outage(log)
        self._consumers = [
            BusConsumer(
                source,
                self._inbox,
                connect=partial(link_to, source),
                wake=wake,
                clock=ProcessClock(),
                database=database,
            )
            for source in sources
        ]
        self._failed: list[Exception] = []

    @property
    def outdated(self) -> str:
        """Why this release may not continue; "" while it may."""
        return next((one.outdated for one in self._consumers if one.outdated), "")

    def run(self) -> None:
        """Receive events until `stop`, or until outdated. Raises Unfit or SettingsError where one cannot start."""
        threads = [
            threading.Thread(target=self._consume, args=[consumer], name=f"bus-{number}")
            for number, consumer in enumerate(self._consumers)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._inbox.close()
        if self._failed:
            raise self._failed[0]

    def stop(self) -> None:
        """Finish the current chunks, and end. Safe from any thread and in a signal handler."""
        for consumer in self._consumers:
            consumer.stop()

    def _consume(self, consumer: BusConsumer) -> None:
        try:
            consumer.run()
        except Exception as error:  # raised in `run`; the other consumers end
            self._failed.append(error)
            self.stop()
