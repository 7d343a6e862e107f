"""What pages read and actions change: the process's parts, and the reports that all pages share."""

from functools import cached_property

from worker.core.database.audit_entries import Act
from worker.events.store.refused_events import PutRefusedBack
from worker.features.dashboard.users import Person
from worker.features.outbox.outbox_report import OutboxReport
from worker.reporting.batch_report import Reporting
from worker.reporting.operation_report import Operation
from worker.wiring.container import Parts
from worker.wiring.stores import Stores


class Sources:
    """Blocking: pages and actions call it in a thread, where the site runs them."""

    def __init__(self, parts: Parts, put_back: PutRefusedBack | None) -> None:
        """`put_back` None: this process reaches no queue."""
        self.parts, self.put_back = parts, put_back

    @cached_property
    def reporting(self) -> Reporting:
        """Made once: what the forecasts of all batches have in common is kept there for a moment."""
        return self.parts.reporting

    @property
    def operation(self) -> Operation:
        return self.parts.operation

    @property
    def outbox(self) -> OutboxReport:
        return OutboxReport(self.parts.settings, self.parts.database)

    def acting(self, person: Person, action: str, reason: str) -> Stores:
        """The store's objects, whose changes the audit log ascribes to this person, action and reason."""
        parts = self.parts
        database = parts.database.acting(Act(person.actor, action, reason))
        return Stores(parts.settings, database, parts.keyring, delivery=lambda: parts.contact, jitter=parts.jitter)
