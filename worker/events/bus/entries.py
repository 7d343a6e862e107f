"""Messages as values, and how Redis has them: an event as an entry of a stream, a task in kombu's envelope; and what a
connection does with them. Pure."""

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from worker.events.cloudevents import LARGEST
from worker.providers.strict_json import read_object

# Base64 takes a third more, and headers some.
LARGEST_ENVELOPE = 2 * LARGEST
# The fields of an entry. Every other field is a header.
EVENT, CONTENT_TYPE, CONTENT_ENCODING = "event", "content-type", "content-encoding"
ENVELOPE = "envelope"  # of a task


@dataclass(frozen=True, repr=False)
class Entry:
    """A message. `broken`: why it cannot be read; its body is then all of it. Personal data, so no repr."""

    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    broken: str = ""


@dataclass(frozen=True, repr=False)
class Delivery:
    """A message that a broker has handed out. `handle` is what the broker calls it by."""

    entry: Entry
    handle: Any
    times_given_back: int = 0


class Link(Protocol):
    """An open connection that takes messages from one queue. Every method raises the broker's own exceptions."""

    def receive(self, room: int, wait: float) -> Sequence[Delivery]:
        """What has come, at most `room` messages; waits up to `wait` seconds for the first. Without room it keeps the
        connection, and what it holds, alive."""

    def notify(self, id_: UUID, reason: str, now: datetime) -> None:
        """Put a notice of a refused message into the dead queue. Returns when the broker has it."""

    def acknowledge(self, messages: Sequence[Delivery]) -> None:
        """Settle these messages, the oldest that are held."""


def entry_in(fields: Mapping[bytes, bytes]) -> Entry:
    """An entry of a stream, read. Never raises."""
    named = {_text(name): value for name, value in fields.items()}
    if ENVELOPE in named:
        return opened(named[ENVELOPE])
    body = named.pop(EVENT, None)
    if body is None:
        whole = {name: _text(value) for name, value in named.items()}
        return Entry(json.dumps(whole).encode(), broken=f"the entry has no field `{EVENT}`")
    headers = {name: _text(value) for name, value in named.items()}
    return Entry(body, headers.pop(CONTENT_TYPE, None), headers.pop(CONTENT_ENCODING, None), headers)


def fields_of(entry: Entry) -> dict[bytes, bytes]:
    """The fields of an entry, to be put into a stream."""
    named = {CONTENT_TYPE: entry.content_type, CONTENT_ENCODING: entry.content_encoding, **entry.headers}
    fields = {_bytes(name): _bytes(str(value)) for name, value in named.items() if value is not None}
    return {**fields, EVENT.encode(): entry.body}


def opened(raw: bytes) -> Entry:
    """kombu's envelope, read. Never raises."""
    if len(raw) > LARGEST_ENVELOPE:
        return Entry(raw, broken=f"the entry has more than {LARGEST_ENVELOPE:,} bytes")
    found = read_object(raw)
    if not isinstance(found, dict) or not isinstance(found.get("body"), str):
        return Entry(raw, broken="the entry is not an envelope as kombu writes it")
    headers, properties = found.get("headers") or {}, found.get("properties") or {}
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return Entry(raw, broken="the envelope's headers or properties are not an object")
    body = _decoded(found["body"], properties.get("body_encoding"))
    if body is None:
        return Entry(raw, broken="the envelope's body is not in its body_encoding: base64, or utf-8")
    return Entry(body, _known(found.get("content-type")), _known(found.get("content-encoding")), headers, properties)


def enveloped(entry: Entry) -> bytes:
    """The entry in kombu's envelope, as far as it is read here."""
    properties = {**entry.properties, "body_encoding": "base64"}
    return json.dumps(
        {
            "body": b64encode(entry.body).decode(),
            "content-type": entry.content_type,
            "content-encoding": entry.content_encoding,
            "headers": entry.headers,
            "properties": properties,
        }
    ).encode()


def _decoded(body: str, encoding: Any) -> bytes | None:
    try:
        if encoding in (None, "utf-8"):
            return body.encode()
        if encoding == "base64":
            return b64decode(body.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        pass
    return None


def _known(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
