"""Puts a refused message into the dead queue: the broker confirms it before the consumer acknowledges the original.

A reject of AMQP cannot carry a reason, and kombu drops what is rejected on Redis.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.domain.model.customers import FieldProblem
from worker.foundation.timestamps import written
from worker.inbound.bus.connection import CONFIRM_SECONDS
from worker.inbound.bus.topology import Topology

REASON, PROBLEMS, REFUSED_AT = "x-reason", "x-problems", "x-refused-at"
# Who sent a message, as `queue_senders` proves it. It stays when the message is put back.
SENDER = "x-sender"
MOST_PROBLEMS, LONGEST_PROBLEMS = 10, 1000
# CC and BCC make RabbitMQ deliver to the queues that they name: a producer must not do so with our login.
DROPPED = frozenset({"CC", "BCC"})
OURS = frozenset({REASON, PROBLEMS, REFUSED_AT})
BROKERS = frozenset({"x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"}) | {
    "x-delivery-count"
}
# The properties that stay. Not `user_id`, which RabbitMQ compares with our login (see SENDER), nor `expiration`.
KEPT = ("message_id", "correlation_id", "type", "app_id", "timestamp", "reply_to")


@dataclass(frozen=True)
class Refusal:
    """Why a message is refused. Names no value of the message."""

    reason: str
    problems: tuple[FieldProblem, ...] = ()


def dead_headers(
    headers: Mapping[str, Any], refusal: Refusal, now: datetime, *, vouched: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The message's own headers, and ours. Pure; `now` is aware UTC. `vouched`: see `queue_senders`."""
    kept = {name: value for name, value in headers.items() if name not in DROPPED | OURS} | dict(vouched or {})
    kept[REASON] = refusal.reason
    kept[REFUSED_AT] = written(now)
    if refusal.problems:
        shown = "; ".join(_in_words(problem) for problem in refusal.problems[:MOST_PROBLEMS])
        kept[PROBLEMS] = shown if len(shown) <= LONGEST_PROBLEMS else shown[: LONGEST_PROBLEMS - 1] + "…"
    return kept


def live_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers as they were before a message was refused. Pure."""
    return {name: value for name, value in headers.items() if name not in DROPPED | OURS | BROKERS}


def message_id(message: Any) -> str:
    """An id that is the same in every queue: made from what was sent, not from why it was refused. Pure."""
    sent = {name: value for name, value in live_headers(message.headers).items() if name != SENDER}
    parts = (
        message.body,
        str(message.content_type or "").encode(),
        json.dumps(sent, sort_keys=True, default=str).encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def publish(channel: Any, message: Any, *, exchange: str, key: str, headers: Mapping[str, Any]) -> None:
    """Publish a message again, its body unchanged. Returns when the broker has confirmed it. Raises kombu's errors.

    It does not use kombu's Producer, which encodes a body without a content type.
    """
    properties = {name: message.properties[name] for name in KEPT if message.properties.get(name)}
    again = channel.prepare_message(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(headers),
        properties={"delivery_mode": 2, **properties},
    )
    channel.basic_publish(again, exchange=exchange, routing_key=key, mandatory=True, confirm_timeout=CONFIRM_SECONDS)


def bury(
    channel: Any, topology: Topology, message: Any, refusal: Refusal, now: datetime, *, vouched: Mapping[str, str]
) -> None:
    """Put a refused message into the dead queue."""
    headers = dead_headers(message.headers, refusal, now, vouched=vouched)
    publish(channel, message, exchange=topology.dead_exchange, key=topology.dead_key, headers=headers)


def _in_words(problem: FieldProblem) -> str:
    return f"{problem.column}: {problem.problem}" + (f" ({problem.hint})" if problem.hint else "")
