"""What a refused message looks like in the dead queue, and how it gets there: confirmed before it is acknowledged.

A reject of AMQP cannot carry a reason, and kombu drops what is rejected on Redis.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.domain.model.customers import FieldProblem
from worker.foundation.timestamps import written
from worker.inbound.bus.connection import CONFIRM_SECONDS
from worker.inbound.bus.topology import Topology

REASON, PROBLEMS, REFUSED_AT = "x-reason", "x-problems", "x-refused-at"
MOST_PROBLEMS, LONGEST_PROBLEMS = 10, 1000
# CC and BCC have RabbitMQ deliver to queues that they name: whoever wrote them must not do so by our login.
DROPPED = frozenset({"CC", "BCC"})
OURS = frozenset({REASON, PROBLEMS, REFUSED_AT})
BROKERS = frozenset({"x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"}) | {
    "x-delivery-count"
}
# The properties that stay. Not `user_id`, which RabbitMQ holds against our login, nor `expiration`.
KEPT = ("message_id", "correlation_id", "type", "app_id", "timestamp", "reply_to")


@dataclass(frozen=True)
class Refusal:
    """Why a message is not taken. Names no value of it."""

    reason: str
    problems: tuple[FieldProblem, ...] = ()


def dead_headers(headers: Mapping[str, Any], refusal: Refusal, now: datetime) -> dict[str, Any]:
    """The message's own headers, and ours. Pure; `now` is aware UTC."""
    kept = {name: value for name, value in headers.items() if name not in DROPPED | OURS}
    kept[REASON] = refusal.reason
    kept[REFUSED_AT] = written(now)
    if refusal.problems:
        shown = "; ".join(_in_words(problem) for problem in refusal.problems[:MOST_PROBLEMS])
        kept[PROBLEMS] = shown if len(shown) <= LONGEST_PROBLEMS else shown[: LONGEST_PROBLEMS - 1] + "…"
    return kept


def live_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers as they were before a message was refused. Pure."""
    return {name: value for name, value in headers.items() if name not in DROPPED | OURS | BROKERS}


def publish(channel: Any, message: Any, *, exchange: str, key: str, headers: Mapping[str, Any]) -> None:
    """Publish a message again, its body unchanged; returns when the broker has it. Raises kombu's errors.

    Not by kombu's Producer, which encodes a body whose type is not given.
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


def bury(channel: Any, topology: Topology, message: Any, refusal: Refusal, now: datetime) -> None:
    """Put a refused message into the dead queue."""
    headers = dead_headers(message.headers, refusal, now)
    publish(channel, message, exchange=topology.dead_exchange, key=topology.dead_key, headers=headers)


def _in_words(problem: FieldProblem) -> str:
    return f"{problem.column}: {problem.problem}" + (f" ({problem.hint})" if problem.hint else "")
