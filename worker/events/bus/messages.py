"""Reads a message of the bus as an event, or returns the reason why it is no event. Pure.

Binary CloudEvents have their attributes in headers, under one of three prefixes: `cloudEvents:` and `cloudEvents_` by
the AMQP binding, and `ce-`, as HTTP has it.

Another project may send an event as a Celery task, which is read without Celery, by its message protocol, version 2:
headers: task, id, eta, expires, …    body, as JSON: [[event], {}, {callbacks, errbacks, chain, chord}]
"""

import json
from datetime import UTC, datetime
from typing import Any

from worker.core.model.incoming import Event, EventKind
from worker.events.bus.entries import Entry
from worker.events.cloudevents import LARGEST, Unreadable, is_json, read
from worker.lists.traces import TRACEPARENT
from worker.providers.strict_json import read_list

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
