"""A consumer in a thread of the test's process, and an inbox that a test can look into."""

import hashlib
import logging
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.schema import NotReady
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.incoming import Event, EventReceipt, Outcome, Received
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.bus.consumer import BusConsumer, Connect
from onboarding_worker.events.bus.dead_lettering import message_in
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.events.bus.sources import Source, events_of
from onboarding_worker.events.store.refused_events import RefusedMessage
from onboarding_worker.runtime.bus_consumers import link_to
from onboarding_worker.settings.outside import Bus
from tests.suite.waiting import ENDS_WITHIN, wait_until

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
IDLE = 0.02  # seconds; a test's end waits for it


@dataclass
class FakeInbox:
    """Takes each event once, by source and id, and keeps what it took. May be away, or have a bug."""

    chunks: list[int] = field(default_factory=list)
    taken: dict[tuple[str, str], Event] = field(default_factory=dict)
    seen: int = 0
    away: bool = False
    tries: int = 0
    breaks_at: str = ""
    newer: str = ""
    read_only: str = ""
    secret: str = "known to the worker alone"
    refused: dict[uuid.UUID, RefusedMessage] = field(default_factory=dict)
    full: bool = False  # events are taken, refused messages are not

    def receive(self, events: Sequence[Event]) -> Received:
        self.tries += 1
        if self.away:
            raise sa.exc.OperationalError(None, None, Exception("connection refused"))
        if any(event.id == self.breaks_at for event in events):
            raise ZeroDivisionError("with somebody's name in it")
        self.chunks.append(len(events))
        receipts = []
        for event in events:
            known = (event.source, event.id) in self.taken
            self.taken.setdefault((event.source, event.id), event)
            receipts.append(EventReceipt(Outcome.DUPLICATE if known else Outcome.TAKEN))
        self.seen += len(events)
        return Received(receipts, frozenset({WakeUp.issue("kyc")}))

    def keep(self, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
        self.tries += 1
        if self.away or self.full:
            raise sa.exc.OperationalError(None, None, Exception("connection refused"))
        ids = [uuid.uuid5(uuid.NAMESPACE_OID, one.queue + one.identity) for one in refused]
        self.refused |= dict(zip(ids, refused, strict=True))
        return ids

    def message(self, id_: uuid.UUID) -> Entry:
        """A refused message as it came."""
        content = self.refused[id_].content
        assert content is not None
        return message_in(content)

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        return (hashlib.sha256(f"{self.secret}{purpose}{text}".encode()).hexdigest(),)

    def check_ready(self) -> None:
        if self.away:
            raise NotReady("the database cannot be used", "connection refused")

    def outdated(self) -> str | None:
        return self.newer or None

    def unwritable(self) -> str:
        return self.read_only

    @property
    def customers(self) -> list[str]:
        return sorted(str(event.data["customer_id"]) for event in self.taken.values())


@dataclass
class Running:
    consumer: BusConsumer
    thread: threading.Thread
    woken: list[WakeUp]

    def end(self) -> None:
        self.consumer.stop()
        self.thread.join(ENDS_WITHIN)
        assert not self.thread.is_alive()


@contextmanager
def consuming(
    bus: Bus | Source, inbox: Any, connect: Connect | None = None, database: Outage | None = None
) -> Iterator[Running]:
    """Consumes until the end of the block. The queues are there when it begins."""
    woken: list[WakeUp] = []
    source = bus if isinstance(bus, Source) else events_of(bus)
    consumer = BusConsumer(
        source,
        inbox,
        connect=connect or partial(link_to, source),
        wake=woken.append,
        clock=lambda: NOON,
        database=database,
        idle=IDLE,
    )
    failed: list[BaseException] = []

    def run() -> None:
        try:
            consumer.run()
        except BaseException as error:
            failed.append(error)

    running = Running(consumer, threading.Thread(target=run, name="bus"), woken)
    running.thread.start()
    try:
        yield running
    finally:
        running.end()
    if failed:
        raise failed[0]


def wait_for_start(caplog: Any, bus: Bus) -> None:
    wait_until(lambda: any(bus.queue in line for line in caplog.messages), "it takes events")


def log_of_the_bus(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "onboarding_worker.events.bus")
