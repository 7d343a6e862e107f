"""What other systems tell us, and what becomes of it: the words that the bus, HTTP and the library share. Pure.

docs/events.md tells producers the same.
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
    """The types of CloudEvents that are taken in."""

    REQUESTED = "onboarding.requested"  # data: one row of a list
    CANCELLED = "onboarding.cancelled"  # data: customer_id, and the purpose if it is not "onboarding"
    UPDATED = "customer.updated"  # data: customer_id, and the columns that are new
    ERASED = "customer.erased"  # data: customer_id


@dataclass(frozen=True, repr=False)
class Event:
    """One event as it came, its envelope checked and its data not yet. Personal, so no repr.

    `source` and `id` make it unique. `occurred_at` is the producer's time, None where it gives none: then it counts as
    having happened when it was received.
    """

    source: str
    id: str
    kind: EventKind
    data: Mapping[str, Any]
    occurred_at: datetime | None = None


class Outcome(StrEnum):
    TAKEN = "taken"
    IGNORED = "ignored"  # something newer is known of the customer, or there is nothing that it could change
    DUPLICATE = "duplicate"  # of one that was taken, or ignored
    REFUSED = "refused"


@dataclass(frozen=True)
class Receipt:
    """What became of one event. `reason` is for people and names no value; `id` is the event's address, and `None`
    where it was refused: of those nothing is kept here."""

    outcome: Outcome
    id: uuid.UUID | None = None
    job_id: int | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True)
class Received:
    """A receipt for each event, in their order; and the wake-ups to send once the transaction is committed."""

    receipts: list[Receipt]
    due: frozenset[WakeUp] = frozenset()
