"""Exchanges and queues: their names, how they are declared, and how existing ones are checked.

    exchange (topic) ─key─▶ queue ──┬─ refused: a notice ─▶ dead exchange ──#──▶ dead queue
                                    └─ delivered too often ─▶ undelivered queue: refused unread

An exchange has the name of the queue after it. The dead queue has notices, without personal data: refused messages
are in the database. RabbitMQ can only move a message as it is, so what it has delivered too often has a queue of its
own, which is consumed like the other.

On Redis a queue is a stream with a consumer group. Tasks of other projects come in a list of kombu's, and are moved
into the stream next to it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import redis
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu.entity import Exchange, Queue

from worker.events.brokers.connection import NEVER, states_of
from worker.settings.outside import Bus

# A message that was delivered so often and never settled goes to the dead queue: it may be what kills consumers.
DELIVERY_LIMIT = 20
OLDEST_REDIS = (6, 2)  # XAUTOCLAIM
GROUP = "onboarding"  # the consumers of a stream
# Notices only tell of refused messages: the newest are enough, and for as long as an operator may still look at them.
MOST_NOTICES = 10_000
NOTICES_KEPT = 14 * 24 * 3600 * 1000  # milliseconds


class Unfit(Exception):
    """The bus does not fit. The text names what is missing or differs, and what to do."""


@dataclass(frozen=True)
class Topology:
    """The names of one queue of events, and the arguments of its queues on RabbitMQ."""

    queue: str
    on_amqp: bool
    key: str = "#"  # what of its exchange goes to the queue: "#" is everything
    is_list: bool = False  # Redis only: kombu's producers push to a list of this name

    @property
    def stream(self) -> str:
        """Redis only: the stream that is read."""
        return f"{self.queue}.stream" if self.is_list else self.queue

    @property
    def dead(self) -> str:
        """The dead queue, and on RabbitMQ the exchange before it."""
        return f"{self.queue}.dead"

    @property
    def undelivered(self) -> str:
        """RabbitMQ only: the queue of messages that were delivered again and again, and never settled."""
        return f"{self.queue}.undelivered"

    @property
    def amqp_queues(self) -> dict[str, dict[str, Any]]:
        """RabbitMQ only: its queues, each with its arguments."""
        notices = {
            "x-queue-type": "quorum",
            "x-delivery-limit": NEVER,
            "x-message-ttl": NOTICES_KEPT,
            "x-max-length": MOST_NOTICES,
        }
        # What kills consumers here too, which do not read the undelivered queue, ends in the dead queue as it is.
        return {self.queue: _moving(self.undelivered), self.undelivered: _moving(self.dead), self.dead: notices}


def _moving(to: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": to,
        # Without this a message is lost when the other queue cannot take it at that moment.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def topology_of(bus: Bus) -> Topology:
    return Topology(bus.queue, bus.url.startswith("amqp"))


def prepare_amqp(connection: Any, topology: Topology, *, declare: bool, warn: Callable[[str], None]) -> None:
    """Declare what is missing, or without `declare` check that all exists. Raises Unfit.

    `warn` is called where a queue exists and differs from what `declare` would make.
    """
    if not declare:
        _check_amqp(connection, topology, warn)
        return
    queues = topology.amqp_queues
    _declare_queue(connection, topology.dead, queues[topology.dead], exchange=topology.dead, key="#")
    _declare_queue(connection, topology.undelivered, queues[topology.undelivered])
    _declare_queue(connection, topology.queue, queues[topology.queue], exchange=topology.queue, key=topology.key)


def prepare_redis(client: Any, topology: Topology, *, declare: bool) -> None:
    """Make the stream and its group, or without `declare` check that they are there. Raises Unfit."""
    version = str(client.info("server").get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_REDIS:
        raise Unfit(f"bus: Redis {version} is too old; it needs {'.'.join(map(str, OLDEST_REDIS))}")
    if not declare:
        if not client.exists(topology.stream) or GROUP.encode() not in _groups(client, topology.stream):
            raise Unfit(
                f"bus: Redis lacks the stream {topology.stream} with the group {GROUP}, and bus.declare is false:"
                f" `XGROUP CREATE {topology.stream} {GROUP} 0 MKSTREAM`, or set bus.declare = true"
            )
        return
    with suppress(redis.ResponseError):  # it is there
        client.xgroup_create(topology.stream, GROUP, id="0", mkstream=True)
    _groups(client, topology.stream)


def _groups(client: Any, stream: str) -> list[bytes]:
    try:
        return [group["name"] for group in client.xinfo_groups(stream)]
    except redis.ResponseError:
        raise Unfit(f"bus: the key {stream} of Redis is no stream: delete it, or name another in [bus]") from None


def _declare_queue(connection: Any, name: str, arguments: dict[str, Any], *, exchange: str = "", key: str = "") -> None:
    """Declare a queue. With an exchange, declare that first, and bind the queue to it."""
    topic = Exchange(exchange, type="topic", durable=True)
    if exchange:
        with _explained("exchange", exchange), connection.channel() as channel:
            topic.bind(channel).declare()
    queue = Queue(name, topic, routing_key=key, durable=True, queue_arguments=arguments)
    with _explained("queue", name), connection.channel() as channel:
        queue.bind(channel).queue_declare()
        if exchange:
            queue.bind(channel).queue_bind()


def _check_amqp(connection: Any, topology: Topology, warn: Callable[[str], None]) -> None:
    # Producers may publish to any exchange from which the queue gets its messages. Notices go to this one.
    missing = [f"the exchange {topology.dead}"] if not _has_exchange(connection, topology.dead) else []
    queues = states_of(connection, topology.amqp_queues, on_amqp=True)
    missing += [f"the queue {queue.name}" for queue in queues if not queue.is_there]
    if missing:
        raise Unfit(
            f"bus: RabbitMQ lacks {', '.join(missing)}, and bus.declare is false:"
            " declare them as docs/reference/bus.md says, or set bus.declare = true"
        )
    for name, arguments in topology.amqp_queues.items():
        # The queue exists, so this declares nothing. A user without the configure right learns of no differences.
        try:
            with connection.channel() as channel:
                Queue(name, durable=True, queue_arguments=arguments).bind(channel).queue_declare()
        except PreconditionFailed as error:
            warn(f"bus: the queue {name} differs from docs/reference/bus.md{_where(error)}; it is used as it is")
        except AccessRefused:
            pass


def _has_exchange(connection: Any, name: str) -> bool:
    try:
        with connection.channel() as channel:
            Exchange(name).bind(channel).declare(passive=True)
    except NotFound:
        return False
    return True


@contextmanager
def _explained(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except PreconditionFailed as error:
        raise Unfit(
            f"bus: the {what} {name} exists and differs{_where(error)}. RabbitMQ cannot change it: delete it"
            " once it is empty, name another in [bus], or set bus.declare = false to use it as it is"
        ) from None
    except AccessRefused:
        raise Unfit(
            f"bus: RabbitMQ does not let this user declare the {what} {name}:"
            " let it configure, or declare by hand and set bus.declare = false"
        ) from None


def _where(error: PreconditionFailed) -> str:
    found = re.search(r"inequivalent arg '([\w-]+)'", str(error))
    return f" ({found[1]})" if found else ""
