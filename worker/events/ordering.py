"""Decides which of a customer's events counts: by the events' own times, not by their arrival. Pure.

docs/reference/events.md promises producers the same. Of two events with the same time, the one that arrives last is the
later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from worker.core.customers.customers import MESSAGE, OF_PERSON, PERSONAL, Customer, with_own
from worker.core.model.incoming import EventKind

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
