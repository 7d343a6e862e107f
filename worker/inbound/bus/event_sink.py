"""The database that stores the bus's events; opened once it can be reached and is at this release's schema."""

from collections.abc import Sequence
from contextlib import ExitStack

from worker.domain.events.incoming import Event, Received
from worker.engine.opening import check_ready, opened
from worker.foundation.keyring import Keyring
from worker.inbound.event_receiver import Receiver
from worker.settings import Settings
from worker.store.base import schema
from worker.store.base.database import Database


class DatabaseInbox:
    """The `batch_processing.Inbox` over the database. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = ExitStack()
        self._database: Database | None = None
        self._receiver: Receiver | None = None
        self._keyring: Keyring | None = None

    def check_ready(self) -> None:
        """Raises NotReady; SettingsError where the configured keys do not decrypt what the database holds."""
        if self._database is not None:
            check_ready(self._database)
            return
        parts = self._exits.enter_context(opened(self._settings))
        self._exits.enter_context(parts.heartbeat("bus"))
        self._database = parts.database
        self._keyring = parts.keyring
        self._receiver = Receiver(parts.intake, parts.inboxes, parts.keyring)

    def receive(self, events: Sequence[Event]) -> Received:
        if self._receiver is None:
            raise RuntimeError("call check_ready first")
        return self._receiver.receive(events)

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        if self._keyring is None:
            raise RuntimeError("call check_ready first")
        return self._keyring.digests(purpose, text)

    def outdated(self) -> str | None:
        return None if self._database is None else schema.outdated(self._database)

    def close(self) -> None:
        self._exits.close()
