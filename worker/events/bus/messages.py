"""Messages as values: how Redis has them, an event as an entry of a stream, a task in kombu's envelope; what a
connection does with them; and the event in one, or the reason why it is no event. Pure.

Binary CloudEvents have their attributes in headers, under one of three prefixes: `cloudEvents:` and `cloudEvents_` by
the AMQP binding, and `ce-`, as HTTP has it.

Another project may send an event as a Celery task, which is read without Celery, by its message protocol, version 2:
headers: task, id, eta, expires, …    body, as JSON: [[event], {}, {callbacks, errbacks, chain, chord}]
"""

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from onboarding_worker.adapters.strict_json import read_list, read_object
from onboarding_worker.core.model.incoming import Event, EventKind
from onboarding_worker.events.cloudevents import LARGEST, Unreadable, is_json, read
from onboarding_worker.lists.traces import TRACEPARENT

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
    named = {_decode(name): value for name, value in fields.items()}
    if ENVELOPE in named:
        return opened(named[ENVELOPE])
    body = named.pop(EVENT, None)
    if body is None:
        whole = {name: _decode(value) for name, value in named.items()}
        return Entry(json.dumps(whole).encode(), broken=f"the entry has no field `{EVENT}`")
    headers = {name: _decode(value) for name, value in named.items()}
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
    with suppress(UnicodeEncodeError, binascii.Error):
        if encoding in (None, "utf-8"):
            return body.encode()
        if encoding == "base64":
            return b64decode(body.encode("ascii"), validate=True)
    return None


def _known(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


PREFIXES = ("cloudevents:", "cloudevents_", "ce-")
# The content encodings of a plain text. Compressed bodies are refused: a few kilobytes can become gigabytes.
PLAIN_ENCODINGS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "binary", "identity", "8bit", "7bit"})

TASK = "onboarding.request"
ARGUMENT = "event"  # the argument's name, for callers that name it
# What Celery would do with a task before or after it, and no worker does here.
TIMES = ("eta", "expires")


def event_in(message: Entry, plain: EventKind | None) -> Event | Unreadable:
    """The message's event. Never raises. `plain`: the kind of plain JSON that names no type."""
    body = plain_body(message)
    if isinstance(body, Unreadable):
        return body
    attributes, twice = attributes_of(message)
    if twice:
        return Unreadable("an attribute comes twice in the headers")
    return read(body, content_type=_text(message.content_type), attributes=attributes, plain=plain)


def plain_body(message: Entry) -> bytes | Unreadable:
    """The message's body, where it is not compressed."""
    if message.broken:
        return Unreadable(message.broken)
    if _text(message.content_encoding).lower() not in PLAIN_ENCODINGS or "compression" in message.headers:
        return Unreadable("the body is compressed or not UTF-8: send it uncompressed, in UTF-8")
    return message.body


def attributes_of(message: Entry) -> tuple[dict[str, str], bool]:
    """The CloudEvents attributes in the headers, in small letters and without prefix; and whether one comes twice.

    Under two prefixes, or in large and small letters: which one counts would depend on the headers' order. Without such
    headers, AMQP's own property `type` is the type of plain JSON.
    """
    found: dict[str, str] = {}
    twice = False
    for name, value in message.headers.items():
        small = str(name).lower()
        for prefix in PREFIXES:
            if small.startswith(prefix):
                attribute = small.removeprefix(prefix)
                twice = twice or attribute in found
                found[attribute] = _text(value)
    if not found and isinstance(kind := message.properties.get("type"), str) and kind:
        return {"type": kind}, False
    return found, twice


def traceparent_of(message: Entry) -> str | None:
    """The message's own header `traceparent`, as the producer's tracing library writes it; unchecked."""
    found = message.headers.get(TRACEPARENT)
    return None if found is None else _text(found)


def _text(value: Any) -> str:
    """A header's value as CloudEvents writes it; "" for what has no such form, which is refused where it matters."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return value
        case int():
            return str(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case datetime():  # AMQP's timestamps are UTC, but come without a time zone
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return ""


def event_in_task(message: Entry) -> Event | Unreadable:
    """The event in a task. Never raises. The task's argument is a CloudEvent as an object, or the data of a request."""
    body = plain_body(message)
    if isinstance(body, Unreadable):
        return body
    if not is_json(_text(message.content_type)):
        return Unreadable("the content type is not JSON: use Celery's serializer json")
    if "task" not in message.headers:
        return Unreadable("it has no header `task`: send it with Celery's send_task and task_protocol 2")
    if message.headers["task"] != TASK:
        return Unreadable(f"its task is not {TASK}")
    if any(message.headers.get(name) for name in TIMES):
        return Unreadable("it has an eta, a countdown or an expiry: the event's invite_after delays an invitation")
    event = argument_in(body)
    if isinstance(event, Unreadable):
        return event
    # Half of a surrogate pair cannot be encoded; as bytes it is refused like any other text that is not UTF-8.
    again = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return read(again, content_type="application/json", attributes={}, plain=EventKind.REQUESTED)


def argument_in(body: bytes) -> Any:
    """The one argument of a task's body; Unreadable where it has none."""
    if len(body) > LARGEST:
        return Unreadable(f"the task has more than {LARGEST:,} bytes")
    match read_list(body):
        case [list(arguments), dict(named), dict() | None as options]:
            if any((options or {}).values()):
                return Unreadable("it has a link, a chain or a chord: nothing follows a request")
            if len(arguments) == 1 and not named:
                return arguments[0]
            if not arguments and named.keys() == {ARGUMENT}:
                return named[ARGUMENT]
            return Unreadable("its arguments are not one event")
    return Unreadable("its body is not arguments, named arguments and options, as Celery's protocol 2 has them")
