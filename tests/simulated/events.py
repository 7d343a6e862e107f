"""Events as producers send them."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from onboarding_worker.core.database.encrypted_values import decrypt_person
from onboarding_worker.core.database.tables import CustomerRow
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind, Received
from tests.simulated.world import World

_ids = itertools.count(1)
# Before the tests' now.
MORNING = datetime.fromisoformat("2026-11-20T08:00:00+00:00")


def at(minutes: float) -> datetime:
    return MORNING + timedelta(minutes=minutes)


def event(kind: EventKind, data: dict[str, Any], minutes: float | None = None, **how: Any) -> Event:
    occurred_at = at(minutes) if minutes is not None else None
    return Event(
        **{"source": "/signup", "id": f"e-{next(_ids)}", "occurred_at": occurred_at, "sender": OPERATOR} | how,
        kind=kind,
        data=data,
    )


def requested(
    customer_id: str, minutes: float | None = None, *, of: dict[str, Any] | None = None, **data: Any
) -> Event:
    row = {"customer_id": customer_id, "email": f"{customer_id.lower()}@example.org", "country": "LT"} | data
    return event(EventKind.REQUESTED, row, minutes, **(of or {}))


def cancelled(customer_id: str, minutes: float | None = None, **data: Any) -> Event:
    return event(EventKind.CANCELLED, {"customer_id": customer_id} | data, minutes)


def updated(customer_id: str, minutes: float | None = None, **data: Any) -> Event:
    return event(EventKind.UPDATED, {"customer_id": customer_id} | data, minutes)


def erased(customer_id: str, minutes: float | None = None) -> Event:
    return event(EventKind.ERASED, {"customer_id": customer_id}, minutes)


def outcomes(received: Received) -> list[str]:
    return [receipt.outcome.value for receipt in received.receipts]


def person(world: World, customer_id: str) -> Person:
    """As the database knows the customer."""
    row = world.row(CustomerRow, customer_id=customer_id)
    return decrypt_person(world.parts.keyring, customer_id, row.encrypted)
