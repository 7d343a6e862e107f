"""Decides what an event may do to its customer, by the customer's owner and the sender's rights, and which of a
customer's events counts; and the events on their way into the database. Pure.

The owner is the sender whose request made the customer known; a list's customers have none (""). A sender that does not
reach a customer gets the answers that it would get about a customer who does not exist, and its event changes nothing.
Only a request cannot be answered so: it would have to open a session. It is refused. Whether a list may have a sender's
customer: `lists.known_customers.refuses_lists`.

Events count by their own times, not by their arrival; docs/reference/events.md promises producers the same. Of two
events with the same time, the one that arrives last is the later.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from onboarding_worker.core.model.customers import MESSAGE, OF_PERSON, PERSONAL, Customer, FieldProblem, with_own
from onboarding_worker.core.model.incoming import EventKind, EventSender
from onboarding_worker.lists.lines import AcceptedLine

NOT_ITS_TYPE = "this sender may not send events of this type"
NOT_ITS_CUSTOMER = "this sender may not request this customer"
NOT_ITS_ID = "this sender may not name customers with such ids"
ANY = "*"  # in a pattern of ids: any characters, or none


@dataclass(frozen=True)
class SenderStanding:
    """What an event may do. `reaches`: it may change the customer. `heeds`: the sender whose earlier events count with
    it; `heeds_all`: those of senders that reach every customer count too."""

    reaches: bool
    heeds: str
    heeds_all: bool

    def counts(self, sender: str, *, every_customer: bool) -> bool:
        """True if an earlier event of this sender counts."""
        return sender == self.heeds or (self.heeds_all and every_customer)


NO_STANDING = SenderStanding(reaches=False, heeds="", heeds_all=False)


def may_name(sender: EventSender, customer_id: str) -> bool:
    """Whether an event of this sender may be about this id, known or not: so its answer tells nothing of a customer."""
    return not sender.ids or any(_fits(pattern, customer_id) for pattern in sender.ids)


def _fits(pattern: str, text: str) -> bool:
    first, *others = (re.escape(part) for part in pattern.split(ANY))
    if not others:
        return text == pattern
    *middle, last = others
    # Each as early as it can be, and never tried again: the more is left for the next.
    early = "".join(f"(?>.*?{part})" for part in middle)
    return re.fullmatch(f"{first}{early}.*{last}", text, re.DOTALL) is not None


def standing_of(sender: EventSender, owner: str | None) -> SenderStanding:
    """`owner` of the event's customer, by now its sender if it is a request; None: no customer of this id is known."""
    if owner is None:
        # There is nothing to change yet: the event is kept for the request that it overtook. Its answer must not depend
        # on what other senders have sent.
        return SenderStanding(True, sender.name, heeds_all=sender.every_customer)
    if sender.every_customer or owner == sender.name:
        return SenderStanding(True, owner, heeds_all=True)
    return SenderStanding(False, sender.name, heeds_all=False)


Columns = Mapping[str, Any]  # of UPDATABLE, and MESSAGE, as JSON has them


@dataclass(frozen=True)
class EarlierEvents:
    """What is known of a customer from earlier arrivals: the latest time of each kind of event; None: never.

    `details_at` is the time of the whole row that gave the details. `requested_at` and `cancelled_at` are for the
    event's purpose, `requested_for_any_at` for any purpose. `updated_after`: an update newer than the event exists.
    """

    details_at: datetime | None = None
    erased_at: datetime | None = None
    requested_at: datetime | None = None
    cancelled_at: datetime | None = None
    requested_for_any_at: datetime | None = None
    updated_after: bool = False


def _later(than: datetime, when: datetime | None) -> bool:
    return when is not None and when > than


def why_ignored(kind: EventKind, at: datetime, known: EarlierEvents) -> str:
    """Why an event of the time `at` is ignored, as a text without values; "" if the event counts."""
    match kind:
        case EventKind.REQUESTED if _later(at, known.erased_at):
            return "the customer was erased after this event"
        case EventKind.REQUESTED if _later(at, known.requested_at):
            return "the customer was requested again after this event"
        case EventKind.REQUESTED if _later(at, known.cancelled_at):
            return "the customer's onboarding was cancelled after this event"
        case EventKind.CANCELLED if _later(at, known.requested_at):
            return "the customer was requested again after this event"
        case EventKind.UPDATED if _later(at, known.erased_at):
            return "the customer was erased after this event"
        case EventKind.UPDATED if _later(at, known.details_at):
            return "a whole row of the customer is known that is newer than this event"
    return ""


def brings_details(at: datetime, known: EarlierEvents) -> bool:
    """True if a request's row is the customer's newest whole row, whatever happens to its job."""
    return not _later(at, known.details_at) and not _later(at, known.erased_at)


def spares_newer(at: datetime, known: EarlierEvents) -> bool:
    """True if an erasure keeps newer data: only a later request makes the customer known again."""
    return _later(at, known.requested_for_any_at)


def overlaid(customer: Customer, updates: Iterable[tuple[datetime, Columns | None]]) -> Customer | None:
    """The customer with each column's newest value. None if an update that may be newer is no longer stored."""
    for _, columns in sorted(updates, key=lambda update: update[0]):
        if columns is None:
            return None
        customer = changed(customer, columns)
    return customer


def changed(customer: Customer, columns: Columns) -> Customer:
    personal = {name: value for name, value in columns.items() if name in PERSONAL}
    if isinstance(personal.get("date_of_birth"), str):
        personal["date_of_birth"] = date.fromisoformat(personal["date_of_birth"])
    remaining = {name: value for name, value in columns.items() if name not in OF_PERSON}
    person = with_own(replace(customer.person, **personal), columns.get(MESSAGE))
    return replace(customer, person=person, **remaining)


def columns_of(customer: Customer, names: Iterable[str]) -> dict[str, Any]:
    """These columns of an accepted update, as JSON has them."""
    columns = {name: getattr(customer.person if name in OF_PERSON else customer, name) for name in names}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in columns.items()}


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
