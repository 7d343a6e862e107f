"""What a producer tells, and how it stands on the wire: structured, binary and plain JSON.

Written from the CloudEvents 1.0 pages and docs/bus.md alone: nothing of the worker's is imported.
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
# As the AMQP binding writes an attribute's name, as its JMS form does, and as HTTP does.
PREFIXES = ("cloudEvents:", "cloudEvents_", "ce-")
FORMS = ("structured", *PREFIXES, "plain")
ROW = "row"  # the data alone, for those who declare its type in our configuration; it has no id, so its bytes are


@dataclass(frozen=True)
class Told:
    """One event. `time` is aware UTC; None: the producer does not say."""

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
        said = {"specversion": "1.0", "type": self.kind, "source": self.source, "id": self.id}
        return said | ({"time": self.time.isoformat().replace("+00:00", "Z")} if self.time else {})


@dataclass(frozen=True)
class Message:
    """Bytes, and what the broker is told beside them. `bare`: pushed on a Redis list without kombu's envelope."""

    body: bytes
    content_type: str | None = STRUCTURED
    headers: Mapping[str, Any] = field(default_factory=dict)
    encoding: str | None = None
    bare: bool = False


def written(told: Told, form: str) -> Message:
    """`form` is one of FORMS, or ROW."""
    if form == ROW:
        return Message(_json(told.data), "application/json")
    if form == "structured":
        return Message(_json(told.attributes() | {"datacontenttype": "application/json", "data": told.data}))
    if form == "plain":
        # The event's own words beside the data, without a CloudEvents version.
        said = {name: value for name, value in told.attributes().items() if name != "specversion"}
        return Message(_json(said | {"data": told.data}), "application/json")
    headers = {form + name: value for name, value in told.attributes().items()}
    return Message(_json(told.data), "application/json", headers)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
