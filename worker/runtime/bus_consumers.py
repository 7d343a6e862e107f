"""Consumes all queues of events of a configuration: one consumer, thread and connection for each, and one inbox: the
database, once it can be reached and is at this release's schema."""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from onboarding_worker.core.database import schema
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.incoming import Event, Outcome, Received
from onboarding_worker.core.model.metrics import EVENTS
from onboarding_worker.core.model.wakeups import Wake
from onboarding_worker.events.bus.consumer import BusConsumer
from onboarding_worker.events.bus.links import amqp_link, stream_link
from onboarding_worker.events.bus.messages import Link
from onboarding_worker.events.bus.sources import Source
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.events.store.refused_events import RefusedMessage
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_ready, opened

log = logging.getLogger(__name__)


class DatabaseInbox:
    """The `consumer.Inbox` over the database. Safe for threads. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = ExitStack()
        self.close = self._exits.close
        self._opening = threading.Lock()
        self._parts: Parts | None = None

    def check_ready(self) -> None:
        """Raises NotReady; SettingsError where the configured keys do not decrypt what the database holds."""
        with self._opening:
            if self._parts is None:
                parts = self._exits.enter_context(opened(self._settings))
                self._exits.enter_context(parts.heartbeat("bus"))
                self._receiver = Receiver(parts.intake, parts.inboxes, parts.keyring)
                self._parts = parts
                return
        check_ready(self._parts.database)

    def receive(self, events: Sequence[Event]) -> Received:
        meters = self._ready().meters
        received = self._receiver.receive(events)
        for receipt in received.receipts:
            if receipt.outcome is not Outcome.REFUSED:  # these are kept next
                meters.add(EVENTS, "bus", receipt.outcome.value)
        return received

    def keep(self, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
        parts = self._ready()
        kept = parts.refused_events.keep(refused, now=parts.database_clock())
        if refused:
            parts.meters.add(EVENTS, "bus", Outcome.REFUSED.value, amount=len(refused))
        return kept

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        return self._ready().keyring.digests(purpose, text)

    def outdated(self) -> str | None:
        return None if self._parts is None else schema.outdated(self._parts.database)

    def unwritable(self) -> str:
        return "" if self._parts is None else self._parts.database.why_nothing_is_written()

    def _ready(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("call check_ready first")
        return self._parts


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

    @property
    def outdated(self) -> str:
        """Why this release may not continue; "" while it may."""
        return next((one.outdated for one in self._consumers if one.outdated), "")

    def run(self) -> None:
        """Receive events until `stop`, or until outdated. Raises Unfit or SettingsError where one cannot start."""
        try:
            with ThreadPoolExecutor(len(self._consumers), "bus") as threads:
                ended = [threads.submit(self._consume, consumer) for consumer in self._consumers]
        finally:
            self._inbox.close()
        for one in ended:
            one.result()

    def stop(self) -> None:
        """Finish the current chunks, and end. Safe from any thread and in a signal handler."""
        for consumer in self._consumers:
            consumer.stop()

    def _consume(self, consumer: BusConsumer) -> None:
        try:
            consumer.run()
        except Exception:  # raised again in `run`; the other consumers end
            self.stop()
            raise
