"""Connections to brokers as every process of this project makes them: with time-outs, over verified TLS, and with what
brokers refuse in words. And what a broker says of itself and its queues, without declaring or changing any.

kombu asks for no certificate on `rediss`, and compares no host name on `amqps`: so each option is said.
"""

import ssl
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import redis
from amqp import AccessRefused, NotAllowed
from amqp.exceptions import AMQPError, MessageNacked, NotFound
from kombu import compression
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, RedisError

from onboarding_worker.core.foundation.connection_failures import causes, in_words, refusal
from onboarding_worker.core.foundation.tls import Tls

# Seconds. Without these, a call to a broker that hangs, or whose host vanished, waits for ever.
CONNECT_SECONDS = 5
SILENT_SECONDS = 10
# How long RabbitMQ may take to confirm a message.
CONFIRM_SECONDS = 10
# RabbitMQ ends a connection that is silent for two heartbeats: longer than a transaction may wait for locks.
HEARTBEAT = 60

# A delivery limit that is never reached. Reading a queue delivers its messages, and RabbitMQ 4 drops a message after 20
# deliveries.
NEVER = 2**31 - 1
# RabbitMQ refuses a login, or has no such virtual host. kombu does not treat this as an outage.
REFUSED = (AccessRefused, NotAllowed)
# All that a broker raises that is lost, or refuses.
OUTAGES = (AMQPError, MessageNacked, OperationalError, RedisError, OSError)
# What kombu and amqp raise on a message that they cannot read off the wire.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)

# How many bytes of messages are handled at once, however few messages they are: any producer may send messages of a
# hundred megabytes. RabbitMQ bounds only the number of messages that it delivers at once.
BYTES_AT_ONCE = 8_000_000


def tls_options(url: str, tls: Tls | None) -> dict[str, Any] | None:
    """What kombu calls `ssl`, and Celery `broker_use_ssl`; None for an address without TLS. kombu has one such table
    for all nodes of an address: a certificate of RabbitMQ must have the first node's name."""
    first = urlsplit(url.partition(";")[0])
    if first.scheme == "amqps":
        return (tls or Tls()).amqp(first.hostname or "localhost")
    return redis_tls(tls) if first.scheme == "rediss" else None


def redis_tls(tls: Tls | None) -> dict[str, Any]:
    """redis-py's options. It trusts the system's authorities beside `ca`."""
    given = tls or Tls()
    options: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    if given.ca is not None:
        options["ssl_ca_certs"] = str(given.ca)
    if given.certificate is not None:
        options["ssl_certfile"] = str(given.certificate)
        options["ssl_keyfile"] = str(given.certificate)
        options["ssl_password"] = ""  # never asked for: a service has no terminal
    return options


def transport_options(url: str) -> dict[str, Any]:
    """The time-outs, by kombu's documented names."""
    if url.startswith("redis"):
        return {
            "socket_timeout": SILENT_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": SILENT_SECONDS,
        }
    if url.startswith("amqp"):
        return {"confirm_publish": True, "read_timeout": SILENT_SECONDS, "write_timeout": SILENT_SECONDS}
    return {"polling_interval": 0.01}


def broker_connection(url: str, tls: Tls | None = None, *, heartbeat: int = 0, **options: Any) -> Connection:
    """A connection to a broker. It opens when it is first used, or by `connect`. `options`: of kombu's transport."""
    return Connection(
        url,
        ssl=tls_options(url, tls),
        heartbeat=heartbeat,
        connect_timeout=CONNECT_SECONDS,
        transport_options={**transport_options(url), **options},
    )


def connection_to(url: str, *, tls: Tls | None = None) -> Connection:
    """kombu's connection, whose messages stay as they came. It opens when it is first used, or by `connect`."""
    never_unpack()
    return broker_connection(url, tls, heartbeat=HEARTBEAT)


@contextmanager
def connected(url: str, *, tls: Tls | None = None) -> Iterator[Any]:
    with connection_to(url, tls=tls) as connection:
        connection.connect()
        yield connection


def redis_client(url: str, tls: Tls | None = None) -> redis.Redis:
    """redis-py's client, for streams. The time-outs are those of kombu's connections."""
    options = transport_options(url) | (redis_tls(tls) if url.startswith("rediss") else {})
    return redis.Redis.from_url(url, **options)


def broker_fault(error: BaseException, *, whom: str = "this process") -> str:
    """What is wrong with a broker, for people: it cannot be reached, or it answers and refuses."""
    words = refusal(error)
    return f"the broker refuses {whom} ({words})" if words else f"the broker cannot be reached ({in_words(error)})"


def refuses_log_in(error: BaseException) -> bool:
    """Whether the broker answers, and does not let this user in: no waiting mends that."""
    return any(isinstance(cause, (*REFUSED, AuthenticationError)) for cause in causes(error))


def never_unpack() -> None:
    """Have kombu unpack no message in this process.

    It decompresses a body as soon as a header `compression` asks for it, without a bound: a few kilobytes can become
    gigabytes. Such a message has an error now, and its body stays as it came.
    """
    for name in compression.encoders():
        encoder, kind = compression.get_encoder(name)
        compression.register(encoder, _refused, kind)


def _refused(_body: Any) -> NoReturn:
    raise ValueError("compressed messages are not unpacked")


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
