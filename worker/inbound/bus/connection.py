"""Connections to the bus. Messages stay as they came: neither decoded nor decompressed before they are checked."""

from typing import Any

from kombu.connection import Connection
from kombu.transport import pyamqp

from worker.brokers.connection import CONNECT_SECONDS, tls_options, transport_options
from worker.brokers.undecoded import never_unpack
from worker.foundation.tls import Tls
from worker.inbound.bus.redis_channel import TAKEN_SECONDS, keys_of
from worker.inbound.bus.redis_channel import Transport as RedisTransport

# Seconds. RabbitMQ ends a connection that is silent for two heartbeats: longer than a transaction may wait for locks.
HEARTBEAT = 60


class BusMessage(pyamqp.Message):
    """A message from RabbitMQ. `body` is bytes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors = []
        if not isinstance(self.body, bytes):
            self.body = b""  # an empty body is a text to amqp

    @property
    def broken(self) -> str:
        """Why the message cannot be read: RabbitMQ has no such messages, so always ""."""
        return ""

    @property
    def times_given_back(self) -> int:
        """How often it was delivered before and not acknowledged, where the broker counts (quorum queues)."""
        times = self.headers.get("x-delivery-count", 0)
        return times if isinstance(times, int) else 0


class BusConnection(Connection):
    """A connection whose messages the bus reads."""

    def get_transport_cls(self) -> Any:
        return RedisTransport if self.transport_cls in ("redis", "rediss") else super().get_transport_cls()

    def channel(self) -> Any:
        """A channel whose messages are not decoded."""
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = BusMessage
        return channel


def connection_to(
    url: str, queue: str, *, tls: Tls | None = None, taken_seconds: float = TAKEN_SECONDS
) -> BusConnection:
    """A connection to consume this queue. It opens when it is first used, or by `connect`.

    `taken_seconds`: after how long Redis gives back the messages of a consumer that is gone; RabbitMQ does it at once.
    """
    taken = keys_of(queue)
    on_redis = {
        "unacked_key": taken.taken,
        "unacked_index_key": taken.index,
        "visibility_timeout": taken_seconds,
    }
    return _connection(url, tls, on_redis if url.startswith("redis") else {})


def connection_for_looking(url: str, *, tls: Tls | None = None) -> BusConnection:
    """A connection to any broker that consumes nothing: to look at messages, and to put them into another queue."""
    return _connection(url, tls, {})


def _connection(url: str, tls: Tls | None, options: dict[str, Any]) -> BusConnection:
    never_unpack()
    return BusConnection(
        url,
        ssl=tls_options(url, tls),
        heartbeat=HEARTBEAT,
        connect_timeout=CONNECT_SECONDS,
        transport_options={**transport_options(url), **options},
    )
