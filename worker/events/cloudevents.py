"""CloudEvents 1.0. Reads an event from its bytes and headers, as JSON, or plain JSON; or a list of CloudEvents. And the
events that the worker publishes: their types, their data, and their form. Pure.

The transport (bus, HTTP) removes its own prefix from the attributes' names first. This module does not check the data.

docs/features/outbox.md describes our own events for receivers, and docs/events has a schema of each type
(tests/events/schemas.py).
"""

import binascii
import hashlib
import json
import re
import uuid
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from onboarding_worker.adapters.strict_json import Flaw, NoObject, has_unstorable_text, read_object
from onboarding_worker.core.model.incoming import Event, EventKind
from onboarding_worker.lists.formats.kind import without_marks
from onboarding_worker.lists.traces import TRACEPARENT

LARGEST = 256 * 1024  # bytes of one event with its envelope
MOST_EVENTS = 1000  # of one list
LARGEST_LIST = 4 * 1024 * 1024  # bytes
LONGEST = 200  # characters of a source and an id, as wide as the inbox's columns
PLAIN_SOURCE = "plain"  # the source of plain JSON that names none

_KINDS = ", ".join(kind.value for kind in EventKind)
_STRUCTURED = "application/cloudevents"
_LIST = f"{_STRUCTURED}-batch+json"
# The specification's String: no control characters, no Unicode noncharacters, no halves of a surrogate pair.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_SPACE = re.compile(r"[ \t\n\r]*")
# Finds where each event of a list ends, and refuses as little as it can: `read_object` judges the event alone.
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


@dataclass(frozen=True)
class Unreadable:
    """Why a message cannot be read as an event. `reason` is for people and repeats no value."""

    reason: str


@dataclass(frozen=True)
class Listed:
    """One event of a list. `id` is its own id, as far as it has a good one; else ""."""

    id: str
    event: Event | Unreadable


class _Refusal(Exception):
    """Reading has failed; `args[0]` is the reason, in our own words. It never leaves this module."""


def read(
    body: bytes, *, content_type: str, attributes: Mapping[str, str], plain: EventKind | None = None
) -> Event | Unreadable:
    """The event in a message. Never raises, whatever the message holds.

    `attributes` are the message's headers, in lower case and without the transport's prefix (`ce-`, `cloudEvents:`).
    With `specversion` among them the body is the data; `type` alone is the type of plain JSON. `plain` is the type of
    plain JSON that names none.
    """
    try:
        if len(body) > LARGEST:
            raise _Refusal(f"the event has more than {LARGEST:,} bytes")
        if not is_json(content_type):
            raise _Refusal(
                "the content type is not JSON: send one event as application/cloudevents+json or application/json"
            )
        if _media(content_type).startswith(_STRUCTURED):
            return _structured(_object(body, "the body"))
        if attributes.keys() & {"specversion", "id", "source"}:
            if not is_json(_text(attributes, "datacontenttype") or ""):
                raise _Refusal("datacontenttype is not JSON")
            return _cloud_event(attributes, _object(body, "the body"))
        found = _object(body, "the body")
        return _structured(found) if "specversion" in found else _plain(body, found, attributes, plain)
    except _Refusal as refusal:
        return Unreadable(refusal.args[0])


def read_list(body: bytes) -> list[Listed] | Unreadable:
    """The events of a list, in its order, each read as if it came alone. Never raises. Unreadable is a list whose
    events cannot be told apart, or that has more than MOST_EVENTS."""
    try:
        return [_listed(value, text) for value, text in _parts(without_marks(body).decode())]
    except _Refusal as refusal:
        return Unreadable(refusal.args[0])
    except UnicodeDecodeError:
        return Unreadable(f"the body {NoObject(Flaw.NOT_UTF8).words}")
    except json.JSONDecodeError as error:
        return Unreadable(f"the body {NoObject(Flaw.NOT_JSON, at=error.pos + 1).words}")
    except RecursionError:
        return Unreadable(f"the body {NoObject(Flaw.TOO_DEEP).words}")


def _parts(text: str) -> Iterator[tuple[Any, str]]:
    """Each value of a list, and its text. Raises _Refusal, JSONDecodeError and RecursionError."""
    place = _next(text, 0)
    if text[place : place + 1] != "[":
        raise _Refusal("the body is not a JSON list of events")
    place, count = _next(text, place + 1), 0
    ended = text[place : place + 1] == "]"
    while not ended:
        count += 1
        if count > MOST_EVENTS:
            raise _Refusal(f"the list has more than {MOST_EVENTS:,} events")
        value, end = _LENIENT.raw_decode(text, place)
        yield value, text[place:end]
        place = _next(text, end)
        ended = text[place : place + 1] == "]"
        if not ended:
            if text[place : place + 1] != ",":
                raise json.JSONDecodeError("", text, place)
            place = _next(text, place + 1)
    if _next(text, place + 1) < len(text):
        raise json.JSONDecodeError("", text, place + 1)


def _next(text: str, place: int) -> int:
    """Where the next character is that is no space."""
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]  # it always matches


def _listed(value: Any, text: str) -> Listed:
    try:
        raw = text.encode()
        if len(raw) > LARGEST:
            raise _Refusal(f"the event has more than {LARGEST:,} bytes")
        event = _structured(_object(raw, "the event"))
        return Listed(event.id, event)
    except _Refusal as refusal:
        good_id = ""
        with suppress(_Refusal):
            good_id = _name(_required(value, "id"), "id") if isinstance(value, dict) else ""
        return Listed(good_id, Unreadable(refusal.args[0]))


def is_list(content_type: str) -> bool:
    """True if a message of this content type is a list of CloudEvents."""
    return _media(content_type) == _LIST


def is_json(content_type: str) -> bool:
    """True if a message of this content type can be an event; a missing content type is accepted."""
    media = _media(content_type)
    return media in ("", "application/json", "text/json") or (
        media.startswith("application/") and media.endswith("+json") and media != _LIST
    )


def _structured(found: dict[str, Any]) -> Event:
    if found.get("data") is not None and found.get("data_base64") is not None:
        raise _Refusal("it has both data and data_base64")
    if not is_json(_text(found, "datacontenttype") or ""):
        raise _Refusal("datacontenttype is not JSON")
    encoded = found.get("data_base64")
    data = found.get("data") if encoded is None else _object(_decoded(encoded), "data_base64")
    return _cloud_event(found, data)


def _cloud_event(attributes: Mapping[str, Any], data: Any) -> Event:
    if _required(attributes, "specversion") != "1.0":
        raise _Refusal("specversion is not 1.0")
    return Event(
        source=_name(_required(attributes, "source"), "source"),
        id=_name(_required(attributes, "id"), "id"),
        kind=_kind(_required(attributes, "type")),
        data=_data(data),
        occurred_at=_time(_text(attributes, "time")),
        traceparent=attributes.get(TRACEPARENT),  # the extension for distributed tracing
    )


def _plain(body: bytes, found: dict[str, Any], attributes: Mapping[str, str], plain: EventKind | None) -> Event:
    # No list has a column named data: an object with a key `data` is an envelope, any other object is the data itself.
    envelope = found if "data" in found else {}
    given = {kind for kind in (_text(envelope, "type"), _text(attributes, "type")) if kind is not None}
    if len(given) > 1:
        raise _Refusal("type next to the data differs from type in the message's headers")
    kind = _kind(given.pop()) if given else plain
    if kind is None:
        raise _Refusal("type is missing: neither next to data nor in the message's headers, and it is not a CloudEvent")
    source, name = _text(envelope, "source"), _text(envelope, "id")
    if name is None:
        # The digest includes the kind: the same data can cancel a customer or erase a customer.
        name = hashlib.sha256(kind.value.encode() + b"\0" + body).hexdigest()
    return Event(
        source=PLAIN_SOURCE if source is None else _name(source, "source"),
        id=_name(name, "id"),
        kind=kind,
        data=_data(found["data"] if envelope else found),
        occurred_at=_time(_text(envelope, "time")),
    )


def _object(raw: bytes, what: str) -> dict[str, Any]:
    found = read_object(without_marks(raw))
    if isinstance(found, dict):
        if has_unstorable_text(found):
            raise _Refusal(f"{what} has a NUL character or half of a surrogate pair in a text")
        return found
    raise _Refusal(f"{what} {found.words}")


def _decoded(encoded: Any) -> bytes:
    try:
        # Encoded as ASCII first, because b64decode raises a plain ValueError for other characters.
        return b64decode(encoded.encode("ascii"), validate=True)
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        raise _Refusal("data_base64 is not base64") from None


def _data(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Refusal("data is missing" if data is None else "data is not an object")
    return data


def _required(attributes: Mapping[str, Any], name: str) -> str:
    value = _text(attributes, name)
    if value is None:
        raise _Refusal(f"{name} is missing")
    return value


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    """The attribute; None where it is absent or null."""
    value = attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Refusal(f"{name} is not a text")
    if not value.strip():
        raise _Refusal(f"{name} is empty")
    if _FORBIDDEN.search(value):
        raise _Refusal(f"{name} has characters that CloudEvents forbids")
    return value


def _name(value: str, name: str) -> str:
    if len(value) > LONGEST:
        raise _Refusal(f"{name} has more than {LONGEST} characters")
    return value


def _kind(value: str) -> EventKind:
    try:
        return EventKind(value)
    except ValueError:
        raise _Refusal(f"type is not one of {_KINDS}") from None


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    parts = _RFC3339.fullmatch(value)
    if parts is None:
        raise _Refusal("time is not in the form of RFC 3339 with an offset, such as 2026-11-20T12:00:00Z")
    day, minute, second, fraction, offset = parts.groups("")
    second = "59" if second == "60" else second  # a leap second
    try:
        # fromisoformat cuts off everything finer than a microsecond.
        return datetime.fromisoformat(f"{day}T{minute}:{second}{fraction}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Refusal("time does not exist") from None


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


BUS = "bus"
SUBSCRIBER = "subscriber/"
SOURCE = "/onboarding-worker"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
# As many digits as the largest row number: then numbers compare correctly as text, as the extension requires.
SEQUENCE_DIGITS = 19


class Happened(StrEnum):
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
