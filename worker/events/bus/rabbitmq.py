"""A queue of RabbitMQ, consumed through kombu."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from kombu.entity import Queue
from kombu.messaging import Consumer

from worker.core.foundation.notation import written
from worker.events.brokers import connection as broker
from worker.events.brokers.connection import connected
from worker.events.bus.dead_lettering import NOTICE_ID, REASON, REFUSED_AT, publish
from worker.events.bus.entries import Delivery, Entry, Link
from worker.events.bus.sources import Source
from worker.events.bus.topology import prepare_amqp


class AmqpLink:
    """An open connection to RabbitMQ, with a consumer of one queue. `most`: as many messages are held at once."""

    def __init__(self, connection: Any, source: Source, most: int) -> None:
        self._connection = connection
        self._topology = source.topology
        self._came: list[Delivery] = []
        channel = connection.channel()
        channel.auto_decode = False  # of py-amqp: a body stays bytes
        self._consumer = Consumer(
            channel,
            queues=[Queue(source.consumed, no_declare=True)],
            # Without `accept` and callbacks kombu decodes nothing: a message is checked first.
            on_message=self._on_message,
            on_decode_error=lambda message, _error: self._on_message(message),  # it is compressed, which is refused
            prefetch_count=most,
            auto_declare=False,
        )
        self._consumer.consume()
        self._publisher = connection.channel()

    def receive(self, room: int, wait: float) -> Sequence[Delivery]:
        self._drain(0.0 if self._came else wait)  # some may have come while RabbitMQ confirmed a notice
        size = 0
        for number in range(1, room):  # what has arrived already, without waiting
            if len(self._came) < number:
                break
            size += len(self._came[number - 1].entry.body)
            if size >= broker.BYTES_AT_ONCE or (len(self._came) == number and not self._drain(0.0)):
                break
        came, self._came = self._came, []
        return came

    def _drain(self, wait: float) -> bool:
        try:
            self._connection.drain_events(timeout=wait)
        except TimeoutError:
            self._connection.heartbeat_check()
            return False
        return True

    def _on_message(self, message: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else b""  # an empty body is a text to py-amqp
        # RabbitMQ counts in quorum queues how often a message was delivered before and not acknowledged.
        times = message.headers.get("x-delivery-count", 0)
        self._came.append(
            Delivery(
                Entry(body, message.content_type, message.content_encoding, message.headers, message.properties),
                message,
                times if isinstance(times, int) else 0,
            )
        )

    def notify(self, id_: UUID, reason: str, now: datetime) -> None:
        headers = {REASON: reason, REFUSED_AT: written(now), NOTICE_ID: str(id_)}
        body = json.dumps({"id": str(id_), "reason": reason}).encode()
        notice = Entry(body, "application/json", "utf-8", headers)
        publish(self._publisher, notice, exchange=self._topology.dead, key=self._topology.queue)

    def acknowledge(self, messages: Sequence[Delivery]) -> None:
        messages[-1].handle.ack(multiple=True)  # acknowledges all before it too


@contextmanager
def amqp_link(source: Source, most: int, warn: Callable[[str], None]) -> Iterator[Link]:
    """Raises Unfit where the broker lacks what the source needs."""
    with connected(source.url, tls=source.tls) as connection:
        prepare_amqp(connection, source.topology, declare=source.declare, warn=warn)
        yield AmqpLink(connection, source, most)
