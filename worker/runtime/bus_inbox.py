"""The database that stores the bus's events; opened once it can be reached and is at this release's schema."""

import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from worker.core.database import schema
from worker.core.database.database import Database
from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.model.incoming import Event, Outcome, Received
from worker.core.model.meters import Meters
from worker.core.model.metrics import EVENTS
from worker.events.event_receiver import Receiver
from worker.events.refused import RefusedMessage
from worker.events.store.refused_events import RefusedEvents
from worker.settings.model import Settings
from worker.wiring.opening import check_ready, opened


class DatabaseInbox:
    """The `batch_processing.Inbox` over the database. Safe for threads. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = ExitStack()
        self._opening = threading.Lock()
        self._opened: _Opened | None = None

    def check_ready(self) -> None:
        """Raises NotReady; SettingsError where the configured keys do not decrypt what the database holds."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
                return
        check_ready(self._opened.database)

    def _open(self) -> "_Opened":
        parts = self._exits.enter_context(opened(self._settings))
        self._exits.enter_context(parts.heartbeat("bus"))
        receiver = Receiver(parts.intake, parts.inboxes, parts.keyring)
        return _Opened(
            parts.database, parts.keyring, receiver, parts.refused_events, parts.database_clock, parts.meters
        )

    def receive(self, events: Sequence[Event]) -> Received:
        ready = self._ready()
        received = ready.receiver.receive(events)
        for receipt in received.receipts:
            if receipt.outcome is not Outcome.REFUSED:  # these are kept next
                ready.meters.add(EVENTS, "bus", receipt.outcome.value)
        return received

    def keep(self, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
        ready = self._ready()
        kept = ready.refused_events.keep(refused, now=ready.clock())
        if refused:
            ready.meters.add(EVENTS, "bus", Outcome.REFUSED.value, amount=len(refused))
        return kept

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        return self._ready().keyring.digests(purpose, text)

    def outdated(self) -> str | None:
        return None if self._opened is None else schema.outdated(self._opened.database)

    def unwritable(self) -> str:
        return "" if self._opened is None else self._opened.database.why_nothing_is_written()

    def close(self) -> None:
        self._exits.close()

    def _ready(self) -> "_Opened":
        if self._opened is None:
            raise RuntimeError("call check_ready first")
        return self._opened


@dataclass(frozen=True)
class _Opened:
    """What is used of the parts on an open database."""

    database: Database
    keyring: Keyring
    receiver: Receiver
    refused_events: RefusedEvents
    clock: Clock
    meters: Meters
