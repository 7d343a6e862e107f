"""Connections to the bus. Messages stay as they came: neither decoded nor decompressed before they are checked."""

import ssl
from typing import Any

from kombu.connection import Connection
from kombu.transport import pyamqp

from worker.inbound.bus.raw_messages import Undecoded
from worker.inbound.bus.redis_channel import TAKEN_SECONDS, keys_of
from worker.inbound.bus.redis_channel import Transport as RedisTransport

# Seconds. RabbitMQ ends a connection that is silent for two heartbeats: longer than a transaction may wait for locks.
HEARTBEAT = 60
# As for wake-ups: a broker that hangs, or a host that vanished, is given up in bounded time.
CONNECT_SECONDS = 5
SOCKET_SECONDS = 10
# How long RabbitMQ may take to confirm a message.
CONFIRM_SECONDS = 10


class AmqpMessage(Undecoded, pyamqp.Message):
    """A message from RabbitMQ. `body` is bytes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
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
    """kombu's connection with our own transport on Redis, also after a switch to another node."""

    def _init_params(self, **params: Any) -> None:  # type: ignore[override]
        if params.get("transport") == "rediss" and not params.get("ssl"):
            # kombu would not check the certificate; these messages hold personal data.
            params["ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        if params.get("transport") in ("redis", "rediss"):
            params["transport"] = RedisTransport
        super()._init_params(**params)

    def channel(self) -> Any:
        """A channel whose messages are not decoded."""
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = AmqpMessage
        return channel


def connection_to(url: str, queue: str, *, taken_seconds: float = TAKEN_SECONDS) -> BusConnection:
    """A connection to consume this queue. It opens when it is first used, or by `connect`.

    `taken_seconds`: after how long Redis gives back the messages of a consumer that is gone; RabbitMQ does it at once.
    """
    taken = keys_of(queue)
    on_redis = {
        "unacked_key": taken.taken,
        "unacked_index_key": taken.index,
        "visibility_timeout": taken_seconds,
    }
    return _connection(url, on_redis if url.startswith("redis") else {})


def connection_for_looking(url: str) -> BusConnection:
    """A connection to any broker that consumes nothing: to look at messages, and to put them into another queue."""
    return _connection(url, {})


def _connection(url: str, options: dict[str, Any]) -> BusConnection:
    return BusConnection(
        url, heartbeat=HEARTBEAT, connect_timeout=CONNECT_SECONDS, transport_options={**_options(url), **options}
    )


def _options(url: str) -> dict[str, Any]:
    if url.startswith("amqp"):
        return {"confirm_publish": True, "read_timeout": SOCKET_SECONDS, "write_timeout": SOCKET_SECONDS}
    if url.startswith("redis"):
        return {
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": SOCKET_SECONDS,
        }
    return {"polling_interval": 0.01}
