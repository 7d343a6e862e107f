"""One connection to a queue's broker, as the consumer uses it: over RabbitMQ or over a stream of Redis."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from kombu.connection import Connection

from worker.core.foundation.tls import Tls
from worker.events.brokers.connection import broker_connection, never_unpack
from worker.events.bus.entries import Delivery

# Seconds. RabbitMQ ends a connection that is silent for two heartbeats: longer than a transaction may wait for locks.
HEARTBEAT = 60


class Link(Protocol):
    """An open connection that takes messages from one queue. Every method raises the broker's own exceptions."""

    def receive(self, room: int, wait: float) -> Sequence[Delivery]:
        """What has come, at most `room` messages; waits up to `wait` seconds for the first. Without room it keeps the
        connection, and what it holds, alive."""

    def notify(self, id_: UUID, reason: str, now: datetime) -> None:
        """Put a notice of a refused message into the dead queue. Returns when the broker has it."""

    def acknowledge(self, messages: Sequence[Delivery]) -> None:
        """Settle these messages, the oldest that are held."""


def connection_to(url: str, *, tls: Tls | None = None) -> Connection:
    """kombu's connection, whose messages stay as they came. It opens when it is first used, or by `connect`."""
    never_unpack()
    return broker_connection(url, tls, heartbeat=HEARTBEAT)


@contextmanager
def connected(url: str, *, tls: Tls | None = None) -> Iterator[Any]:
    """kombu's connection, open."""
    with connection_to(url, tls=tls) as connection:
        connection.connect()
        yield connection
