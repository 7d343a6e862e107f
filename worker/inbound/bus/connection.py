"""Connections to the bus, and messages as they came: neither decoded nor unpacked before they are looked at."""

import ssl
from typing import Any

from kombu.connection import Connection
from kombu.transport import pyamqp

from worker.inbound.bus.raw_messages import Undecoded
from worker.inbound.bus.redis_channel import TAKEN_SECONDS, keys_of
from worker.inbound.bus.redis_channel import Transport as RedisTransport
from worker.settings.outside import Bus

# Seconds. RabbitMQ ends a connection that says nothing for two of them: longer than a transaction may wait for locks.
HEARTBEAT = 60
# As for bells: a broker that hangs, or a host that vanished, is given up in bounded time.
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
        """Why it cannot be read at all: of RabbitMQ's there is no such message."""
        return ""

    @property
    def times_given_back(self) -> int:
        """How often it was taken before and not acknowledged, where the broker counts (quorum queues)."""
        times = self.headers.get("x-delivery-count", 0)
        return times if isinstance(times, int) else 0


class BusConnection(Connection):
    """As kombu's, with our own transport on Redis, also after it turned to another of several nodes."""

    def _init_params(self, **params: Any) -> None:  # type: ignore[override]
        if params.get("transport") == "rediss" and not params.get("ssl"):
            # kombu would not look at the certificate; these messages are personal.
            params["ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        if params.get("transport") in ("redis", "rediss"):
            params["transport"] = RedisTransport
        super()._init_params(**params)

    def channel(self) -> Any:
        """A channel whose messages come as they are."""
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = AmqpMessage
        return channel


def connection_to(bus: Bus, *, taken_seconds: float = TAKEN_SECONDS) -> BusConnection:
    """A connection that is made when it is first used, or by `connect`.

    `taken_seconds`: after how long Redis gives back what a consumer has taken and left; RabbitMQ notices at once.
    """
    taken = keys_of(bus.queue)
    on_redis = {
        "unacked_key": taken.taken,
        "unacked_index_key": taken.index,
        "visibility_timeout": taken_seconds,
    }
    return _connection(bus.url, on_redis if bus.url.startswith("redis") else {})


def connection_for_looking(url: str) -> BusConnection:
    """A connection to any broker, over which nothing is consumed: to look at what lies there, and put it elsewhere."""
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
