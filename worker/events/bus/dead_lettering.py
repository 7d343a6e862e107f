"""What is kept of a refused message: the message itself in the database, and a notice of it in the dead queue.

The message is personal data, so the notice has its id and the reason, and nothing else of it. The message is committed,
and then the broker confirms the notice, before the consumer acknowledges the original.

The values of headers are stored as JSON: AMQP has bytes, times and decimals, which JSON has no form for. A text, a
number, true, false and null are themselves. Any other value is a list of its kind and its content.
"""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from onboarding_worker.adapters.strict_json import has_unstorable_text, read_object
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.events.brokers.connection import CONFIRM_SECONDS
from onboarding_worker.events.bus.messages import Entry, argument_in, attributes_of
from onboarding_worker.events.cloudevents import LARGEST
from onboarding_worker.events.store.refused_events import RefusedMessage
from onboarding_worker.lists.cells import as_text
from onboarding_worker.lists.columns import our_name
from onboarding_worker.lists.formats.kind import without_marks
from onboarding_worker.lists.options import ListOptions

MOST_LEVELS = 32  # of lists and objects inside each other

# The headers of a notice.
REASON, REFUSED_AT, NOTICE_ID = "x-reason", "x-refused-at", "x-refused-id"
# Who sent a message, as `QueueSenders` proves it. It stays when the message is put back.
SENDER = "x-sender"
MOST_PROBLEMS, LONGEST_PROBLEMS = 10, 1000
# Headers and properties that take more than this are not kept, nor is their message.
LARGEST_HEADERS = 64 * 1024
LONGEST_ID = 1000  # a longer customer_id is none that a customer could have
# CC and BCC make RabbitMQ deliver to the queues that they name: a producer must not do so with our login.
DROPPED = frozenset({"CC", "BCC"})
# What RabbitMQ adds: counts of deliveries (4.3 has two), and where a message has died (since 3.13 also the last time).
BROKERS = frozenset({"x-death", "x-delivery-count", "x-acquired-count"}) | {
    f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")
}
# The properties that stay. Not `user_id`, which RabbitMQ compares with our login (see SENDER), nor `expiration`.
KEPT = ("message_id", "correlation_id", "type", "app_id", "timestamp", "reply_to")
# An event's id that names no person: short and of plain characters, so no email address, and with a letter, so no phone
# number; or a UUID. It is how the sender finds the event.
_PLAIN_ID = re.compile(
    r"(?=[0-9._:/-]{0,63}[A-Za-z])[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_KINDS = frozenset(kind.value for kind in EventKind)


class TooDeep(ValueError):
    """Values are nested too deep to be kept."""


def to_plain(value: Any, levels: int = MOST_LEVELS) -> Any:
    """The value as JSON values. Raises TooDeep."""
    if levels < 0:
        raise TooDeep
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return ["object", [[str(name), to_plain(inner, levels - 1)] for name, inner in value.items()]]
        case list() | tuple():
            return ["list", [to_plain(inner, levels - 1) for inner in value]]
        case bytes() | bytearray() | memoryview():
            return ["bytes", b64encode(bytes(value)).decode()]
        case datetime():
            return ["time", value.isoformat()]
        case Decimal():
            return ["decimal", str(value)]
    return str(value)


def from_plain(plain: Any) -> Any:
    """The value of `to_plain`."""
    match plain:
        case ["object", items]:
            return {name: from_plain(inner) for name, inner in items}
        case ["list", items]:
            return [from_plain(inner) for inner in items]
        case ["bytes", text]:
            return b64decode(text)
        case ["time", text]:
            return datetime.fromisoformat(text)
        case ["decimal", text]:
            return Decimal(text)
    return plain


def refused_message(
    message: Entry,
    reason: str,
    queue: str,
    *,
    problems: Sequence[FieldProblem] = (),
    vouched: Mapping[str, str] | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> RefusedMessage:
    """The message as it is stored. Pure. `reason` and `problems` name no value. `vouched`: see `QueueSenders.vouch`.
    `columns`: our names by the list's own."""
    event = event_object(message) or {}
    attributes, twice = attributes_of(message)
    # Of two ids neither is the event's.
    named: Mapping[str, Any] = {} if twice else {**event, **attributes}
    kind, name = named.get("type"), named.get("id")
    customer_id, *further_ids = _customers_in(event, ListOptions(today=date.max, mapping=columns)) or [""]
    return RefusedMessage(
        queue=queue,
        # Of two senders' messages alike both are kept: one may be taken where the other is refused.
        identity=message_id(message, sender=(vouched or message.headers).get(SENDER)),
        reason=reason,
        kind=kind if kind in _KINDS else "",
        event=name if isinstance(name, str) and _PLAIN_ID.fullmatch(name) else "",
        size=len(message.body),
        customer_id=customer_id,
        further_ids=further_ids,
        content=_content_of(message, problems, vouched or {}),
    )


def message_in(content: Mapping[str, Any]) -> Entry:
    """The message as it came, to be put back: without what the broker, or we, had added."""
    content_type, encoding, headers, properties = json.loads(content["envelope"])
    return Entry(b64decode(content["body"]), content_type, encoding, from_plain(headers), from_plain(properties))


def problems_in(content: Mapping[str, Any] | None) -> str:
    """What is wrong with the message's columns, in words."""
    return "" if content is None else str(content["problems"])


def live_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers as the producer wrote them. Pure."""
    return {name: value for name, value in headers.items() if name not in DROPPED | BROKERS}


def message_id(message: Entry, *, sender: Any = None) -> str:
    """An id that is the same for each copy: made from what was sent, not from why it was refused. Pure. `sender`: what
    SENDER says of it, where that tells two messages apart."""
    sent = {name: value for name, value in live_headers(message.headers).items() if name != SENDER}
    # The property `type` is the type of plain JSON: with another one, the same body is another event.
    parts = (
        message.body,
        str(message.content_type or "").encode("utf-8", "surrogatepass"),
        json.dumps([message.properties.get("type"), sender, sent], sort_keys=True, default=str).encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def event_object(message: Entry) -> dict[str, Any] | None:
    """The event as an object, unchecked: the body, or the argument of a task. None where there is none."""
    if len(message.body) > LARGEST:
        return None
    found = argument_in(message.body) if "task" in message.headers else read_object(without_marks(message.body))
    return found if isinstance(found, dict) else None


def publish(channel: Any, message: Entry, *, exchange: str, key: str) -> None:
    """Publish a message to RabbitMQ, its body unchanged. Returns when it has confirmed it. Raises kombu's errors. It
    does not use kombu's Producer, which encodes a body without a content type."""
    again = channel.prepare_message(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=message.headers,
        properties={"delivery_mode": 2, **message.properties},
    )
    channel.basic_publish(again, exchange=exchange, routing_key=key, mandatory=True, confirm_timeout=CONFIRM_SECONDS)


def _customers_in(event: Mapping[str, Any], options: ListOptions) -> list[str]:
    """Each customer_id that an event names, as a list's row would have it. Of several, each may ask for an erasure."""
    data = event.get("data")
    if isinstance(encoded := event.get("data_base64"), str):
        with suppress(ValueError):
            data = read_object(without_marks(b64decode(encoded.encode("ascii"))))
    named = []
    for found in (data, event):
        for key, value in found.items() if isinstance(found, dict) else ():
            text = as_text(value, "customer_id") if our_name(key, options) == "customer_id" else ""
            # No customer has an id with half of a surrogate pair.
            if isinstance(text, str) and text and len(text) <= LONGEST_ID and not has_unstorable_text(text):
                named.append(text)
    return list(dict.fromkeys(named))


def _content_of(message: Entry, problems: Sequence[FieldProblem], vouched: Mapping[str, str]) -> dict[str, Any] | None:
    if len(message.body) > LARGEST:
        return None  # it would be refused again
    properties = {name: message.properties[name] for name in KEPT if message.properties.get(name)}
    try:
        kept = [to_plain({**live_headers(message.headers), **vouched}), to_plain(properties)]
    except TooDeep:
        return None
    types = [one if isinstance(one, str) else None for one in (message.content_type, message.content_encoding)]
    # As a text in ASCII: a header from Redis may have half of a surrogate pair.
    envelope = json.dumps([*types, *kept])
    if len(envelope) > LARGEST_HEADERS:
        return None
    shown = "; ".join(one.named + (f" ({one.hint})" if one.hint else "") for one in problems[:MOST_PROBLEMS])
    shown = shown if len(shown) <= LONGEST_PROBLEMS else shown[: LONGEST_PROBLEMS - 1] + "…"
    in_words = shown.encode("utf-8", "replace").decode()
    return {"body": b64encode(message.body).decode(), "envelope": envelope, "problems": in_words}
