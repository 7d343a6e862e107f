"""Publishes events to a Redis stream. Any client can read it, alone or in a group, and go on where it stopped.

Not kombu's exchange: on Redis that is a list for each queue that was ever bound, without a bound on its length, and
clients that bind later get no earlier event.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import redis

from worker.core.foundation.clock import Clock
from worker.core.foundation.connection_failures import in_words
from worker.core.foundation.tls import Tls
from worker.core.model.endings import Kind, Problem
from worker.events.brokers.connection import CONNECT_SECONDS, SILENT_SECONDS, broker_fault, redis_client
from worker.events.published_events import OutgoingEvent, cloud_event
from worker.features.outbox.publishers.contract import GoesOn, Reply

# The stream's approximate length: about 100 MB. A client that is further behind misses the oldest events.
MOST_EVENTS = 100_000


class RedisStream:
    """One stream. The URL may name several nodes, separated by `;`: after a failure the next node is used."""

    longest = timedelta(seconds=CONNECT_SECONDS + 2 * SILENT_SECONDS)

    def __init__(self, url: str, name: str, *, tls: Tls | None = None) -> None:
        self._tls = tls
        self._urls = url.split(";")
        self._name = name
        self._client: redis.Redis | None = None

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        began_at = clock()
        try:
            return self._add(events if goes_on() else (), began_at)
        except (redis.RedisError, OSError) as error:
            self.close()
            self._urls.append(self._urls.pop(0))
            outage = Problem(Kind.TRANSIENT, broker_fault(error), unreachable=True)
            return [Reply(events[0].number, began_at, outage)]

    def _add(self, events: Sequence[OutgoingEvent], began_at: datetime) -> list[Reply]:
        if not events:
            return []
        if self._client is None:
            self._client = redis_client(self._urls[0], self._tls)
        chunk = self._client.pipeline(transaction=False)
        for event in events:
            fields = {"type": event.kind, "customer_id": event.customer_id, "event": cloud_event(event)}
            chunk.xadd(self._name, fields, maxlen=MOST_EVENTS, approximate=True)  # type: ignore[arg-type]
        replies = []
        for event, answer in zip(events, chunk.execute(raise_on_error=False), strict=True):
            # Out of memory, a read-only replica, or a key of another type with this name.
            problem = (
                Problem(Kind.TRANSIENT, f"the broker did not accept the event ({in_words(answer)})", unreachable=True)
                if isinstance(answer, Exception)
                else None
            )
            replies.append(Reply(event.number, began_at, problem))
        return replies

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
