"""The events that the worker publishes: their types, their data, and their form as CloudEvents. Pure.

docs/features/outbox.md describes the same for receivers, and docs/events has a schema of each type
(tests/events/schemas.py).
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

BUS = "bus"
SUBSCRIBER = "subscriber/"
SOURCE = "/onboarding-worker"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
# As many digits as the largest row number: then numbers compare correctly as text, as the extension requires.
SEQUENCE_DIGITS = 19


class Happened(StrEnum):
    """The types of our own CloudEvents."""

    SESSION_ISSUED = "session.issued"
    INVITATION_SENT = "invitation.sent"
    SESSION_COMPLETED = "session.completed"
    SESSION_EXPIRED = "session.expired"
    JOB_FAILED = "job.failed"
    JOB_HELD = "job.held"


@dataclass(frozen=True)
class OutgoingEvent:
    """One row of the outbox, for its target. `number` grows with each event of one customer, and is never reused."""

    number: int
    event_id: uuid.UUID
    kind: str
    customer_id: str
    data: Mapping[str, Any]
    occurred_at: datetime
    since: datetime
    attempts: int = 0


def moment(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def cloud_event(event: OutgoingEvent) -> bytes:
    """The CloudEvent (1.0, structured JSON): the same bytes however often it is sent."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(event.event_id),
            "source": SOURCE,
            "type": event.kind,
            "subject": event.customer_id,
            "time": moment(event.occurred_at),
            "sequence": f"{event.number:0{SEQUENCE_DIGITS}}",
            "datacontenttype": "application/json",
            "data": dict(event.data),
        },
        separators=(",", ":"),
    ).encode()
