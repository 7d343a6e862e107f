"""Incoming events and their outcomes, shared by the bus, HTTP and the library. Pure.

docs/events.md describes the same for producers.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.model.customers import FieldProblem
from worker.domain.model.wakeups import WakeUp


class EventKind(StrEnum):
    """The types of CloudEvents that the worker accepts."""

    REQUESTED = "onboarding.requested"  # data: one row of a list
    CANCELLED = "onboarding.cancelled"  # data: customer_id, and the purpose if it is not "onboarding"
    UPDATED = "customer.updated"  # data: customer_id, and the columns that are new
    ERASED = "customer.erased"  # data: customer_id


@dataclass(frozen=True, repr=False)
class Event:
    """One event as it came, with a checked envelope and unchecked data. Personal, so no repr.

    `source` and `id` identify it. `occurred_at` is the producer's time; None: the time of the receipt counts. `actor`:
    who sent it, for the audit log, as the door knows them; never by the event's own word.
    """

    source: str
    id: str
    kind: EventKind
    data: Mapping[str, Any]
    occurred_at: datetime | None = None
    actor: str = "unknown"


class Outcome(StrEnum):
    TAKEN = "taken"
    IGNORED = "ignored"  # the customer has a newer event, or the event would change nothing
    DUPLICATE = "duplicate"  # the same event was taken or ignored before
    REFUSED = "refused"


@dataclass(frozen=True)
class Receipt:
    """The outcome of one event. `reason` is for people and repeats no value. `id` is the event's id here; None if the
    event was refused, because nothing of a refused event is stored here."""

    outcome: Outcome
    id: uuid.UUID | None = None
    job_id: int | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True)
class Received:
    """A receipt for each event, in their order; and the wake-ups to send after the commit."""

    receipts: list[Receipt]
    due: frozenset[WakeUp] = frozenset()
