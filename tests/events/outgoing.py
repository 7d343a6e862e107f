"""Events to publish, as many as a test wants."""

import uuid
from typing import Any

from onboarding_worker.events.cloudevents import Happened, OutgoingEvent
from tests.conftest import NOON


def event(number: int, customer: str | None = None, **changes: Any) -> OutgoingEvent:
    data = {
        "job_id": number,
        "batch_id": 1,
        "row": number + 1,
        "customer_id": customer or f"C-{number}",
        "purpose": "onboarding",
        "account": "kyc",
        "session": f"scan-{number}",
        "issued_at": "2026-11-20T12:00:00Z",
        "expires_at": "2026-11-27T12:00:00Z",
        "state": "waiting",
        "provider": "idenfy-kyc",
    }
    given: dict[str, Any] = {
        "number": number,
        "event_id": uuid.UUID(int=number),
        "kind": Happened.SESSION_ISSUED.value,
        "customer_id": data["customer_id"],
        "data": data,
        "occurred_at": NOON,
        "since": NOON,
    }
    return OutgoingEvent(**given | changes)


def events(count: int) -> list[OutgoingEvent]:
    return [event(number) for number in range(1, count + 1)]
