"""Open connections to a queue: of RabbitMQ, consumed through kombu; or a stream of Redis, read by a consumer group, and
the list that Celery tasks of other projects come in.

What a consumer has read of a stream stays pending until it is acknowledged. Another consumer claims it once it was idle
for long.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from time import sleep
from typing import Any
from uuid import UUID, uuid4

import redis
from kombu.entity import Queue
from kombu.messaging import Consumer

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.events.brokers import connection as broker
from onboarding_worker.events.brokers.connection import connected, redis_client
from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, REASON, REFUSED_AT, publish
from onboarding_worker.events.bus.messages import ENVELOPE, Delivery, Entry, Link, entry_in
from onboarding_worker.events.bus.sources import GROUP, MOST_NOTICES, Source, prepare_amqp, prepare_redis


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


# An entry that was read and not acknowledged for so long is claimed by another consumer. A living consumer renews its
# entries three times as often, but not while it waits for a database that cannot be reached or keeps a row locked:
# otherwise consumers would hand entries to each other until MOST_TIMES, and refuse good ones.
TAKEN_SECONDS = 45.0
# As RabbitMQ's `x-delivery-limit`: an entry that was delivered more often than this is refused.
MOST_TIMES = 20
# How many entries are read with one command: between two commands their size is looked at.
AT_ONCE = 10
# kombu's lists for tasks with a priority.
PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")


class StreamLink:
    """An open connection to Redis, with a consumer of its own in the group."""

    def __init__(self, client: redis.Redis, source: Source, taken_seconds: float) -> None:
        self._client: Any = client  # redis-py's types hold both its kinds of clients
        self._topology, self._stream = source.topology, source.topology.stream
        self._taken_seconds = taken_seconds
        self._me = uuid4().hex
        self._held: set[bytes] = set()
        self._claim_at, self._keep_at = 0.0, monotonic() + taken_seconds / 3
        if self._topology.is_list:
            for raw in self._client.lrange(self._moving, 0, -1):  # of a consumer that died meanwhile
                self._move(raw)

    def receive(self, room: int, wait: float) -> Sequence[Delivery]:
        now = monotonic()
        if self._held and now >= self._keep_at:
            self._keep_at = now + self._taken_seconds / 3
            self._claim_again(idle=0)
        if room < 1:
            sleep(wait)
            return []
        if now >= self._claim_at:
            if claimed := self._claimed():
                return claimed
            self._claim_at = now + self._taken_seconds / 3
        return self._read(room, wait)

    def _claimed(self) -> list[Delivery]:
        """One entry of a consumer that is gone. Alone: if it is what ends consumers, no other counts as delivered."""
        idle = int(self._taken_seconds * 1000)
        _, found, *_ = self._client.xautoclaim(
            self._stream, GROUP, self._me, min_idle_time=idle, start_id="0-0", count=1
        )
        deliveries = []
        for id_, fields in found:
            (pending,) = self._client.xpending_range(self._stream, GROUP, min=id_, max=id_, count=1)
            times, entry = int(pending["times_delivered"]) - 1, entry_in(fields)
            if times > MOST_TIMES:
                entry = replace(entry, broken=f"it was taken {times} times and never settled")
            self._held.add(id_)
            deliveries.append(Delivery(entry, id_))
        return deliveries

    def _read(self, room: int, wait: float) -> list[Delivery]:
        if not self._topology.is_list:
            return self._new(room, wait)
        for priority in PRIORITIES:
            for _ in range(room):
                raw = self._client.lmove(f"{self._topology.queue}{priority}", self._moving, "RIGHT", "LEFT")
                if raw is None:
                    break
                self._move(raw)
        if not (read := self._new(room, 0.0)) and wait:
            if raw := self._client.blmove(self._topology.queue, self._moving, wait, "RIGHT", "LEFT"):
                self._move(raw)
            read = self._new(room, 0.0)
        return read

    def _new(self, room: int, wait: float) -> list[Delivery]:
        """Entries that no consumer has read."""
        read: list[Delivery] = []
        size = 0
        while len(read) < room and size < broker.BYTES_AT_ONCE:
            count = min(room - len(read), AT_ONCE)
            block = max(1, int(wait * 1000)) if wait and not read else None
            answer = self._client.xreadgroup(GROUP, self._me, {self._stream: ">"}, count=count, block=block)
            found = [one for _, some in answer for one in some]
            for id_, fields in found:
                self._held.add(id_)
                read.append(Delivery(entry_in(fields), id_))
                size += len(read[-1].entry.body)
            if len(found) < count:
                break
        return read

    @property
    def _moving(self) -> str:
        return f"{self._topology.queue}.moving"

    def _move(self, raw: Any) -> None:
        """Move a task into the stream, by Redis's pattern of a reliable queue: a task is always in one of three places,
        the list, `_moving` and the stream. If this process dies between two of them, the next moves it, and the inbox
        knows a copy."""
        with self._client.pipeline(transaction=True) as both:
            both.xadd(self._stream, {ENVELOPE: raw})
            both.lrem(self._moving, 1, raw)
            both.execute()

    def notify(self, id_: UUID, reason: str, now: datetime) -> None:
        fields = {"id": str(id_), "reason": reason, "refused_at": written(now)}
        self._client.xadd(self._topology.dead, fields, maxlen=MOST_NOTICES, approximate=False)

    def acknowledge(self, messages: Sequence[Delivery]) -> None:
        ids = [message.handle for message in messages]
        with self._client.pipeline(transaction=True) as both:
            both.xack(self._stream, GROUP, *ids)
            both.xdel(self._stream, *ids)
            both.execute()
        self._held.difference_update(ids)

    def leave(self) -> None:
        """Let other consumers have at once what is held."""
        if self._held:
            self._claim_again(idle=int(self._taken_seconds * 1000))
        # The answer to a read may have been lost with the connection. Such an entry would be lost with the consumer.
        if not self._client.xpending_range(self._stream, GROUP, min="-", max="+", count=1, consumername=self._me):
            self._client.xgroup_delconsumer(self._stream, GROUP, self._me)

    def _claim_again(self, *, idle: int) -> None:
        self._client.xclaim(self._stream, GROUP, self._me, 0, list(self._held), idle=idle, justid=True)


@contextmanager
def stream_link(source: Source, *, taken_seconds: float = TAKEN_SECONDS) -> Iterator[Link]:
    """Raises Unfit where Redis is too old, or lacks what the source needs."""
    with redis_client(source.url, source.tls) as client:
        prepare_redis(client, source.topology, declare=source.declare)
        link = StreamLink(client, source, taken_seconds)
        try:
            yield link
        finally:
            with suppress(redis.RedisError, OSError):
                link.leave()
