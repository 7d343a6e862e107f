"""Reads an event that another project sent as a Celery task, without Celery: its message protocol, version 2. Pure.

headers: task, id, eta, expires, …    body, as JSON: [[event], {}, {callbacks, errbacks, chain, chord}]
"""

import json
from collections.abc import Mapping
from typing import Any

from worker.core.foundation.strict_json import NoObject, read_list
from worker.core.model.incoming import Event, EventKind
from worker.events.bus.messages import Message, content_type_of, plain_body
from worker.events.cloudevents import LARGEST, Unreadable, is_json, read

TASK = "onboarding.request"
ARGUMENT = "event"  # the argument's name, for callers that name it
# What Celery would do with a task before or after it, and no worker does here.
TIMES = ("eta", "expires")


def event_in_task(message: Message) -> Event | Unreadable:
    """The event in a task. Never raises. The task's argument is a CloudEvent as an object, or the data of a request."""
    body = plain_body(message)
    if isinstance(body, Unreadable):
        return body
    if not is_json(content_type_of(message)):
        return Unreadable("the content type is not JSON: use Celery's serializer json")
    if "task" not in message.headers:
        return Unreadable("it has no header `task`: send it with Celery's send_task and task_protocol 2")
    if message.headers["task"] != TASK:
        return Unreadable(f"its task is not {TASK}")
    if any(message.headers.get(name) for name in TIMES):
        return Unreadable("it has an eta, a countdown or an expiry: the event's invite_after delays an invitation")
    event = _argument(body)
    if isinstance(event, Unreadable):
        return event
    # Half of a surrogate pair cannot be encoded; as bytes it is refused like any other text that is not UTF-8.
    again = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return read(again, content_type="application/json", attributes={}, plain=EventKind.REQUESTED)


def is_task(headers: Mapping[str, Any]) -> bool:
    """Whether a message with these headers was sent as a Celery task."""
    return "task" in headers


def argument_of(body: bytes) -> Any:
    """The one argument of a task's body; None where it has none."""
    event = _argument(body)
    return None if isinstance(event, Unreadable) else event


def _argument(body: bytes) -> Any:
    if len(body) > LARGEST:
        return Unreadable(f"the task has more than {LARGEST:,} bytes")
    found = read_list(body)
    if isinstance(found, NoObject) or len(found) != 3:
        return Unreadable("its body is not arguments, named arguments and options, as Celery's protocol 2 has them")
    arguments, named, options = found
    if not isinstance(arguments, list) or not isinstance(named, dict) or not isinstance(options, dict | None):
        return Unreadable("its body is not arguments, named arguments and options, as Celery's protocol 2 has them")
    if any((options or {}).values()):
        return Unreadable("it has a link, a chain or a chord: nothing follows a request")
    if len(arguments) == 1 and not named:
        return arguments[0]
    if not arguments and named.keys() == {ARGUMENT}:
        return named[ARGUMENT]
    return Unreadable("its arguments are not one event")
