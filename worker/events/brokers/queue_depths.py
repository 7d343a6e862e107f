"""What a broker says of itself and its queues, without declaring or changing any: for `onboard doctor`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import NotFound
from kombu.entity import Queue


@dataclass(frozen=True)
class QueueState:
    """A queue. `consumers` is None where the broker cannot say: Redis knows of none."""

    name: str
    is_there: bool
    waiting: int = 0
    consumers: int | None = None


def prove_it_takes_messages(connection: Any, *, on_amqp: bool, seconds: float) -> None:
    """Raises the broker's own exception, or TimeoutError, where it answers and takes no message: its memory is full, it
    is a replica, or RabbitMQ holds publishers back. Nothing is left behind: no queue gets this message."""
    if not on_amqp:
        # A write that does nothing, since there is no such list.
        connection.default_channel.client.lpushx("onboarding.doctor", "")
        return
    with connection.channel() as channel:
        message = channel.prepare_message(b"")
        channel.basic_publish_confirm(message, "", "onboarding.doctor", confirm_timeout=seconds)


def states_of(connection: Any, names: Iterable[str], *, on_amqp: bool) -> list[QueueState]:
    """The queues in their order, over an open connection. Raises the broker's own exceptions, as all calls do."""
    return [_on_amqp(connection, name) if on_amqp else _on_redis(connection, name) for name in names]


def _on_amqp(connection: Any, name: str) -> QueueState:
    # A channel each: RabbitMQ closes the channel in which a queue is missing.
    try:
        with connection.channel() as channel:
            found = Queue(name).bind(channel).queue_declare(passive=True)
    except NotFound:
        return QueueState(name, is_there=False)
    return QueueState(name, is_there=True, waiting=found.message_count, consumers=found.consumer_count)


def _on_redis(connection: Any, name: str) -> QueueState:
    """A queue on Redis is a stream, or a list which tasks are moved from into a stream. An empty list is not there: no
    queue is missing."""
    client = connection.default_channel.client
    waiting = client.xlen(name) if client.type(name) == b"stream" else client.llen(name)
    return QueueState(name, is_there=True, waiting=int(waiting) + int(client.xlen(f"{name}.stream")))
