"""Publishes events to RabbitMQ: a durable topic exchange, the event's type as routing key, publisher confirms; or to a
Redis stream. Any client can read that, alone or in a group, and go on where it stopped.

A chunk is published at once, and its confirms are waited for together: one by one, each costs a disk write.

On Redis it is not kombu's exchange: there that is a list for each queue that was ever bound, without a bound on its
length, and clients that bind later get no earlier event.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import redis
from amqp.exceptions import AMQPError
from kombu.entity import Exchange
from kombu.exceptions import OperationalError

from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.connection_failures import in_words
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.events.brokers import connection as brokers
from onboarding_worker.events.cloudevents import CONTENT_TYPE, OutgoingEvent, cloud_event
from onboarding_worker.features.outbox.publishers.contract import ANSWERS_SECONDS, GoesOn, Reply, until_answered

log = logging.getLogger(__name__)
UNREACHABLE = (OperationalError, AMQPError, OSError)
CHECK_SECONDS = 0.5  # how often `goes_on` is asked while confirms are waited for
# A connection that was idle for longer may have been cut without a notice, for example by a firewall.
KEPT_SECONDS = 15.0


class AmqpBus:
    """One exchange. Not safe for threads."""

    longest = timedelta(
        seconds=2 * brokers.CONNECT_SECONDS + 2 * brokers.SILENT_SECONDS + brokers.CONFIRM_SECONDS + ANSWERS_SECONDS
    )

    def __init__(self, url: str, exchange: str, *, declare: bool, tls: Tls | None = None) -> None:
        self._url = url
        self._tls = tls
        self._exchange = exchange
        self._declare = declare
        self._connection: Any = None
        self._channel: Any = None
        self._used_at = 0.0
        # The broker counts the messages of a channel from 1, and names this number (the tag) in its answers.
        self._published = 0
        # Of the messages of this chunk: not answered yet, and not accepted.
        self._unanswered: set[int] = set()
        self._refused: set[int] = set()

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        began_at = clock()
        tags: dict[int, OutgoingEvent] = {}
        outage: Problem | None = None
        waits = until_answered(goes_on)
        try:
            self._open()
            for event in events:
                if not goes_on():
                    break
                tags[self._publish(event)] = event
            self._wait_for_answers(waits)
        except UNREACHABLE as error:
            outage = Problem(Kind.TRANSIENT, brokers.broker_fault(error), unreachable=True)
            self.close()
        refused = Problem(Kind.TRANSIENT, "the broker did not accept the event")
        replies = [
            Reply(event.number, began_at, refused if tag in self._refused else None)
            for tag, event in tags.items()
            if tag not in self._unanswered
        ]
        answered = {reply.number for reply in replies}
        left = next((event.number for event in events if event.number not in answered), None)
        if outage is not None and left is not None:
            replies.append(Reply(left, began_at, outage))  # one reply for all events that are left
        return replies

    def _open(self) -> None:
        if self._connection is not None and monotonic() - self._used_at > KEPT_SECONDS:
            self.close()
        if self._connection is None:
            self._connection = brokers.broker_connection(self._url, self._tls, confirm_publish=False)
            self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            self._channel = self._connection.channel()
            # Declared if configured so; else only checked, so that no event is lost on an exchange that does not exist.
            Exchange(self._exchange, type="topic", durable=True, passive=not self._declare)(self._channel).declare()
            self._channel.events["basic_ack"].add(self._on_ack)
            self._channel.events["basic_nack"].add(self._on_nack)
            self._channel.confirm_select()
            self._published = 0
        self._unanswered, self._refused = set(), set()
        self._used_at = monotonic()

    def _publish(self, event: OutgoingEvent) -> int:
        message = self._channel.prepare_message(
            cloud_event(event),
            content_type=CONTENT_TYPE,
            content_encoding="utf-8",
            properties={"delivery_mode": 2, "message_id": str(event.event_id), "type": event.kind},
        )
        tag = self._published + 1
        self._unanswered.add(tag)
        self._channel.basic_publish(message, exchange=self._exchange, routing_key=event.kind)
        self._published = tag
        return tag

    def _wait_for_answers(self, waits: GoesOn) -> None:
        """Wait until the broker has confirmed or refused each message. Raises TimeoutError."""
        until = monotonic() + brokers.CONFIRM_SECONDS
        while self._unanswered:
            # Also after a read: a broker that sends anything else, such as heartbeats, confirms nothing.
            if monotonic() >= until or not waits():
                raise TimeoutError
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=CHECK_SECONDS)
        self._used_at = monotonic()

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._unanswered -= self._named(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused |= self._named(tag, multiple)
        self._on_ack(tag, multiple)

    def _named(self, tag: int, multiple: bool) -> set[int]:
        """The messages of this chunk that an answer names. `multiple`: it names all up to this one."""
        return {each for each in self._unanswered if each <= tag} if multiple else self._unanswered & {tag}

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.collect(socket_timeout=1)
            except UNREACHABLE as error:
                log.debug("closing the bus's connection: %s", type(error).__name__)


# The stream's approximate length: about 100 MB. A client that is further behind misses the oldest events.
MOST_EVENTS = 100_000


class RedisStream:
    """One stream. The URL may name several nodes, separated by `;`: after a failure the next node is used."""

    longest = timedelta(seconds=brokers.CONNECT_SECONDS + 2 * brokers.SILENT_SECONDS)

    def __init__(self, url: str, name: str, *, tls: Tls | None = None) -> None:
        self._tls = tls
        self._urls = url.split(";")
        self._name = name
        self._client: redis.Redis | None = None

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        began_at = clock()
        if not events or not goes_on():
            return []
        try:
            if self._client is None:
                self._client = brokers.redis_client(self._urls[0], self._tls)
            chunk = self._client.pipeline(transaction=False)
            for event in events:
                fields = {"type": event.kind, "customer_id": event.customer_id, "event": cloud_event(event)}
                chunk.xadd(self._name, fields, maxlen=MOST_EVENTS, approximate=True)  # type: ignore[arg-type]
            answers = chunk.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as error:
            self.close()
            self._urls.append(self._urls.pop(0))
            outage = Problem(Kind.TRANSIENT, brokers.broker_fault(error), unreachable=True)
            return [Reply(events[0].number, began_at, outage)]
        replies = []
        for event, answer in zip(events, answers, strict=True):
            problem = None
            if isinstance(answer, Exception):
                # Out of memory, a read-only replica, or a key of another type with this name.
                why = f"the broker did not accept the event ({in_words(answer)})"
                problem = Problem(Kind.TRANSIENT, why, unreachable=True)
            replies.append(Reply(event.number, began_at, problem))
        return replies

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
