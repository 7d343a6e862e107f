"""Events on their way into the database: the event that arrived, and its result so far."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.core.customers.customers import FieldProblem
from worker.core.model.incoming import EventKind, EventSender
from worker.events.ordering import Columns, EarlierEvents
from worker.events.rights import NO_STANDING, SenderStanding
from worker.lists.lines import AcceptedLine

Key = tuple[str, str, str]  # what identifies an event: its sender's name, its source and its id


@dataclass(frozen=True, repr=False)
class Arrival:
    """An event with valid data. `digests`: see `Keyring.digests`. Personal, so no repr.

    `occurred_at` is never after the receipt. A request has its `line`, which gets its row number when the event is
    taken; an update has the `columns` that are new.
    """

    sender: EventSender
    source: str
    event_id: str
    kind: EventKind
    customer_id: str
    purpose: str
    occurred_at: datetime
    digests: tuple[str, ...]
    line: AcceptedLine | None = None
    invite_after: timedelta | None = None
    columns: Columns = field(default_factory=dict)
    warnings: tuple[FieldProblem, ...] = ()  # for the log; not stored
    actor: str = "unknown"
    traceparent: str | None = None  # of the span that took it in; None: it is not traced
    signed_at: datetime | None = None  # by its sender's clock; None: it was not signed

    @property
    def key(self) -> Key:
        return self.sender.name, self.source, self.event_id


@dataclass
class NewEvent:
    """An event that was not stored before, on its way through one round. `refused`: why it is not stored after all.
    `told`: what it changes of its customer's addresses, for the audit log."""

    id: uuid.UUID
    arrival: Arrival
    standing: SenderStanding = NO_STANDING
    known: EarlierEvents = field(default_factory=EarlierEvents)
    ignored: str = ""
    refused: str = ""
    told: str = ""
    job_id: int | None = None
    encrypted: bytes | None = None


def of_kind(new: Iterable[NewEvent], kind: EventKind) -> list[NewEvent]:
    """The events of this kind that are not ignored."""
    return [event for event in new if event.arrival.kind is kind and not event.ignored]
