"""The events that the worker publishes: their types, their data, and their form as CloudEvents. Pure.

docs/features/outbox.md describes the same for receivers, and docs/events has a schema of each type, made from
`FIELDS`.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from worker.core.model.channels import CHANNELS
from worker.core.model.refusals import LONGEST, MOST

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


_INTEGER: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string", "maxLength": 100}
_WORD: dict[str, Any] = {"type": "string", "maxLength": 40, "pattern": "^[a-z0-9_]*$"}
_KIND: dict[str, Any] = {"type": "string", "maxLength": 16, "pattern": "^[a-z0-9_-]+$"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_JOB: dict[str, dict[str, Any]] = {
    "job_id": _INTEGER | {"description": "The worker's number of the job."},
    "batch_id": _INTEGER | {"description": "The job's batch: its number in `onboard status`."},
    "row": _INTEGER | {"description": "The row's number in that batch, as in `onboard report`."},
    "customer_id": _TEXT | {"minLength": 1, "description": "The list owner's id of the customer."},
    "purpose": _TEXT | {"description": "The purpose of the onboarding."},
    "account": _TEXT | {"description": "The account's name in the configuration."},
    "provider": {"type": ["string", "null"], "description": "null: the account is no longer configured."},
}
_SESSION: dict[str, dict[str, Any]] = _JOB | {
    "session": _TEXT | {"description": "The provider's reference of the session."},
    "issued_at": _TIME | {"description": "When the worker requested the session."},
    "expires_at": _TIME | {"description": "When the session's link stops working."},
}
_STEP: dict[str, dict[str, Any]] = _JOB | {
    "session": {
        "type": ["string", "null"],
        "maxLength": 100,
        "description": "The provider's reference of the job's last session; null: it had none.",
    },
    "reason": _WORD | {"description": "The reason, a word of docs/reference/states.md."},
    "attempts": _INTEGER | {"description": "Finished calls for the session; waits do not count."},
}
# The fields of each event's `data`: always all of them, and no others.
FIELDS: Mapping[Happened, Mapping[str, dict[str, Any]]] = {
    Happened.SESSION_ISSUED: _SESSION | {"state": {"const": "waiting"}},
    Happened.INVITATION_SENT: _JOB
    | {
        "session": _TEXT | {"description": "The provider's reference of the session whose link the message carried."},
        "channel": {"enum": [*CHANNELS]},
        "kind": _KIND | {"description": "`invitation`, `new_link`, `reminder-1` and so on, or `resend-1` and so on."},
        "sent_at": _TIME,
        "state": {"const": "sent"},
    },
    Happened.SESSION_COMPLETED: _SESSION
    | {
        "state": {"const": "completed"},
        "result": _WORD | {"description": "The provider's decision."},
        "reasons": {
            "type": "array",
            "items": {"type": "string", "maxLength": LONGEST, "pattern": "^(fraud:)?[A-Z][A-Z0-9_]+$"},
            "maxItems": MOST,
            "description": "The provider's codes of why it decided so (docs/reference/refused.md).",
        },
    },
    Happened.SESSION_EXPIRED: _SESSION | {"state": {"const": "expired"}},
    Happened.JOB_FAILED: _STEP | {"state": {"const": "failed"}},
    Happened.JOB_HELD: _STEP | {"state": {"const": "held"}},
}
DESCRIPTIONS: Mapping[Happened, str] = {
    Happened.SESSION_ISSUED: "A session was opened for the customer.",
    Happened.INVITATION_SENT: "A message with the session's link was handed over to the sender of its channel.",
    Happened.SESSION_COMPLETED: "The provider has decided about the customer.",
    Happened.SESSION_EXPIRED: "The session's link stopped working before the customer had finished.",
    Happened.JOB_FAILED: "The job has failed: nothing more happens until a person retries the job.",
    Happened.JOB_HELD: "The job is held: a person must decide, mostly because the outcome of a call is unknown.",
}


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
