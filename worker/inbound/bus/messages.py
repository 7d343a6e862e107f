"""A message of the bus read as an event, or as the reason why it is none. Pure.

Binary CloudEvents have their attributes in headers, under one of three prefixes: `cloudEvents:` and `cloudEvents_` by
the AMQP binding, and `ce-`, as HTTP has it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from worker.domain.events.cloudevents import Unreadable, read
from worker.domain.events.incoming import Event, EventKind

PREFIXES = ("cloudevents:", "cloudevents_", "ce-")
# How a text may say that it is one. What was packed is not unpacked: a few kilobytes can become gigabytes.
PLAIN_ENCODINGS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "binary", "identity", "8bit", "7bit"})


class Message(Protocol):
    """What is read of kombu's messages, and of what lies in a list of Redis. `body` is bytes as they came."""

    @property
    def body(self) -> Any: ...
    @property
    def headers(self) -> Mapping[str, Any]: ...
    @property
    def properties(self) -> Mapping[str, Any]: ...
    @property
    def content_type(self) -> Any: ...
    @property
    def content_encoding(self) -> Any: ...
    @property
    def broken(self) -> str:
        """Why it cannot be read at all; "" where it can."""


def event_in(message: Message, plain: EventKind | None) -> Event | Unreadable:
    """Never raises, whatever the message is. `plain` is what plain JSON is that does not say it."""
    if message.broken:
        return Unreadable(message.broken)
    if _text(message.content_encoding).lower() not in PLAIN_ENCODINGS or "compression" in message.headers:
        return Unreadable("the body is packed or not UTF-8: send it as it is, in UTF-8")
    body = message.body if isinstance(message.body, bytes) else b""
    return read(body, content_type=_text(message.content_type), attributes=attributes_of(message), plain=plain)


def attributes_of(message: Message) -> dict[str, str]:
    """The CloudEvents attributes beside the body, in small letters and without prefix.

    Where there are none, AMQP's own property `type` is the type of plain JSON.
    """
    found = {}
    for name, value in message.headers.items():
        small = str(name).lower()
        for prefix in PREFIXES:
            if small.startswith(prefix):
                found[small.removeprefix(prefix)] = _text(value)
    if not found and isinstance(kind := message.properties.get("type"), str) and kind:
        return {"type": kind}
    return found


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
        case datetime():  # AMQP's timestamps are UTC, and come without saying so
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return ""
