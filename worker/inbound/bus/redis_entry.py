"""An entry of a Redis list: kombu's envelope, or anything else that a producer pushed there. Pure."""

import binascii
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

from worker.domain.events.cloudevents import LARGEST
from worker.foundation.strict_json import read_object

# Base64 takes a third more, and headers some.
LARGEST_ENTRY = 2 * LARGEST


@dataclass(frozen=True, repr=False)
class Entry:
    """An entry, read. `broken`: why it is no envelope; its body is then the whole entry. Personal data, so no repr."""

    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    broken: str = ""


def opened(raw: bytes) -> Entry:
    """Read an entry. Never raises."""
    if len(raw) > LARGEST_ENTRY:
        return Entry(raw, broken=f"the entry has more than {LARGEST_ENTRY:,} bytes")
    found = read_object(raw)
    if not isinstance(found, dict) or not isinstance(found.get("body"), str):
        return Entry(raw, broken="the entry is not an envelope as kombu writes it")
    headers, properties = found.get("headers") or {}, found.get("properties") or {}
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return Entry(raw, broken="the envelope's headers or properties are not an object")
    body = _decoded(found["body"], properties.get("body_encoding"))
    if body is None:
        return Entry(raw, broken="the envelope's body is not in its body_encoding: base64, or utf-8")
    return Entry(body, _text(found.get("content-type")), _text(found.get("content-encoding")), headers, properties)


def enveloped(entry: Entry, queue: str, tag: str) -> str:
    """The entry in kombu's envelope, for its `queue`. `tag` is any text that is not used twice."""
    properties = {
        **entry.properties,
        "body_encoding": "base64",
        "delivery_mode": 2,
        "delivery_tag": tag,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
    }
    return json.dumps(
        {
            "body": b64encode(entry.body).decode(),
            "content-type": entry.content_type,
            "content-encoding": entry.content_encoding,
            "headers": entry.headers,
            "properties": properties,
        }
    )


def _decoded(body: str, encoding: Any) -> bytes | None:
    try:
        if encoding in (None, "utf-8"):
            return body.encode()
        if encoding == "base64":
            return b64decode(body.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        pass
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
