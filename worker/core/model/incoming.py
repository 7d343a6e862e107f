"""Incoming events, their senders and their outcomes, shared by the bus, HTTP and the library. Pure.

docs/reference/events.md describes the same for producers.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.wakeups import WakeUp

ACCOUNT, SENDER = "account/", "sender/"  # before the name of a webhook's source


class EventKind(StrEnum):
    """The types of CloudEvents that the worker accepts."""

    REQUESTED = "onboarding.requested"  # data: one row of a list
    CANCELLED = "onboarding.cancelled"  # data: customer_id, and the purpose if it is not "onboarding"
    UPDATED = "customer.updated"  # data: customer_id, and the columns that are new
    ERASED = "customer.erased"  # data: customer_id


@dataclass(frozen=True)
class EventSender:
    """A system that sends events, and its rights.

    `kinds` are the types of events that it may send. `links`: it may be given the links of customers. `every_customer`:
    it reaches all customers, not only those that its own requests have made known. `ids`: patterns of the ids that its
    events may name; none: all. The name is stored with events and customers; "" is this installation itself: lists, and
    its own Python code.
    """

    name: str
    kinds: frozenset[EventKind]
    links: bool = False
    every_customer: bool = False
    ids: tuple[str, ...] = ()


NOBODY = EventSender("", frozenset())
OPERATOR = EventSender("", frozenset(EventKind), links=True, every_customer=True)


@dataclass(frozen=True, repr=False)
class Event:
    """One event as it came, with a checked envelope and unchecked data. Personal, so no repr.

    `sender`, `source` and `id` identify it. `occurred_at` is the producer's time; None: the time of the receipt counts.
    The door that receives the event sets its `sender`: without one it has no rights, and is refused. `actor`: who sent
    it, for the audit log, as the door knows them. Neither is ever the event's own word. `traceparent`: where its trace
    was when it came (`traces`), unchecked. `signed_at`: when its message was signed, by its sender's clock; None: it
    was not signed.
    """

    source: str
    id: str
    kind: EventKind
    data: Mapping[str, Any]
    occurred_at: datetime | None = None
    sender: EventSender = NOBODY
    actor: str = "unknown"
    traceparent: Any = None
    signed_at: datetime | None = None


class Outcome(StrEnum):
    TAKEN = "taken"
    IGNORED = "ignored"  # the customer has a newer event, or the event would change nothing
    DUPLICATE = "duplicate"  # the same event was taken or ignored before
    REFUSED = "refused"


@dataclass(frozen=True)
class EventReceipt:
    """The outcome of one event. `reason` is for people and repeats no value. `id` is the event's id here; None if the
    event was refused, because nothing of a refused event is stored here. `first`: of a duplicate, how the event itself
    ended."""

    outcome: Outcome
    id: uuid.UUID | None = None
    job_id: int | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()
    first: Outcome = Outcome.TAKEN


@dataclass(frozen=True)
class Received:
    """A receipt for each event, in their order; and the wake-ups to send after the commit.

    `beyond`: the names of the senders whose events named a customer that they do not reach, one for each such event.
    """

    receipts: list[EventReceipt]
    due: frozenset[WakeUp] = frozenset()
    beyond: tuple[str, ...] = ()
