"""A producer's event, and its forms on the wire: structured, binary and plain JSON.

This module is written only from the CloudEvents 1.0 pages and docs/reference/bus.md, and imports nothing of the worker.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

REQUESTED = "onboarding.requested"
CANCELLED = "onboarding.cancelled"
UPDATED = "customer.updated"
ERASED = "customer.erased"
ONBOARDING = "onboarding"

STRUCTURED = "application/cloudevents+json"
# The prefixes of an attribute's name in the AMQP binding, in its JMS form, and in HTTP.
PREFIXES = ("cloudEvents:", "cloudEvents_", "ce-")
FORMS = ("structured", *PREFIXES, "plain")
ROW = "row"  # only the data; our configuration declares its type, and its bytes are its id


@dataclass(frozen=True)
class Event:
    """One event. `time` is aware UTC; None: the event has no time."""

    source: str
    id: str
    kind: str
    data: Mapping[str, Any]
    time: datetime | None = None

    @property
    def customer_id(self) -> str:
        return str(self.data["customer_id"])

    @property
    def purpose(self) -> str:
        return str(self.data.get("purpose", ONBOARDING))

    def attributes(self) -> dict[str, str]:
        """The context attributes, by CloudEvents' names."""
        named = {"specversion": "1.0", "type": self.kind, "source": self.source, "id": self.id}
        return named | ({"time": self.time.isoformat().replace("+00:00", "Z")} if self.time else {})


@dataclass(frozen=True)
class Message:
    """Bytes with their headers and properties. `bare`: pushed on a Redis list without kombu's envelope."""

    body: bytes
    content_type: str | None = STRUCTURED
    headers: Mapping[str, Any] = field(default_factory=dict)
    encoding: str | None = None
    bare: bool = False


def written(event: Event, form: str) -> Message:
    """The event as a message. `form` is one of FORMS, or ROW."""
    if form == ROW:
        return Message(_json(event.data), "application/json")
    if form == "structured":
        return Message(_json(event.attributes() | {"datacontenttype": "application/json", "data": event.data}))
    if form == "plain":
        # The event's attributes next to the data, without a CloudEvents version.
        named = {name: value for name, value in event.attributes().items() if name != "specversion"}
        return Message(_json(named | {"data": event.data}), "application/json")
    headers = {form + name: value for name, value in event.attributes().items()}
    return Message(_json(event.data), "application/json", headers)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
