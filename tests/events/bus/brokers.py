"""A bus of a test's own on a real broker, spoken to as producers do: by pika, and by redis-py. Neither is ours."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pika
import redis

from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, REASON, REFUSED_AT
from onboarding_worker.events.bus.dead_letters import dead_queue
from onboarding_worker.events.bus.links import TAKEN_SECONDS
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.events.bus.sources import GROUP, events_of
from onboarding_worker.settings.outside import Bus

STRUCTURED = "application/cloudevents+json"


def requested(customer_id: str = "C-1", *, id: str = "1", **more: Any) -> bytes:
    """A CloudEvent, structured."""
    data = {"customer_id": customer_id, "email": f"{customer_id.lower()}@example.com", "country": "DE", **more}
    return json.dumps(
        {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": id, "data": data}
    ).encode()


@dataclass
class Broker:
    """The broker behind one bus."""

    bus: Bus

    def publish(self, *bodies: bytes, content_type: str | None = STRUCTURED, **properties: Any) -> None:
        raise NotImplementedError

    def waiting(self) -> int:
        """How many messages wait in the queue, held by no consumer."""
        raise NotImplementedError

    def held(self) -> int:
        """How many messages consumers hold."""
        raise NotImplementedError

    def dead(self) -> list[Any]:
        """The notices in the dead queue, the oldest first; they stay there."""
        raise NotImplementedError

    def put_back(self, inbox: Any, *ids: uuid.UUID) -> int:
        """Put refused messages back as `onboard events dead requeue` does. Returns how many notices went."""
        with self.dead_queue() as queue:
            for id_ in ids:
                queue.put_back(inbox.message(id_))
                del inbox.refused[id_]
            return queue.forget(ids)

    @contextmanager
    def dead_queue(self) -> Iterator[Any]:
        with dead_queue(events_of(self.bus).topology, self.bus.url) as queue:
            yield queue

    def clean(self) -> None:
        raise NotImplementedError


class Amqp(Broker):
    def dead(self) -> list[Any]:
        with self.dead_queue() as queue, queue._channel() as channel:  # read as `forget` reads them
            return [
                Entry(message.body.encode(), message.content_type, message.content_encoding, dict(message.headers))
                for message in queue._delivered(channel)
            ]

    @contextmanager
    def channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self.bus.url.removesuffix("//") + "/%2F"))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def publish(self, *bodies: bytes, content_type: str | None = STRUCTURED, **properties: Any) -> None:
        with self.channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                given = pika.BasicProperties(content_type=content_type, delivery_mode=2, **properties)
                channel.basic_publish(self.bus.queue, "signup.web", body, given, mandatory=True)

    def waiting(self) -> int:
        with self.channel() as channel:
            return int(channel.queue_declare(self.bus.queue, passive=True).method.message_count)

    def held(self) -> int:
        return 0  # RabbitMQ says it only over its HTTP API

    def clean(self) -> None:
        queues = (self.bus.queue, f"{self.bus.queue}.undelivered", f"{self.bus.queue}.dead")
        for name in queues:
            for delete in ("queue_delete", "exchange_delete"):
                with suppress(pika.exceptions.AMQPError), self.channel() as channel:
                    getattr(channel, delete)(name)


class Redis(Broker):
    def client(self) -> Any:
        return redis.Redis.from_url(self.bus.url)

    def publish(self, *bodies: bytes, content_type: str | None = STRUCTURED, **properties: Any) -> None:
        headers = properties.get("headers") or {}
        more = {"content-type": content_type} if content_type else {}
        for body in bodies:
            self.add({"event": body, **more, **headers})

    def add(self, fields: Mapping[Any, Any]) -> None:
        with self.client() as client:
            client.xadd(self.bus.queue, fields)

    def waiting(self) -> int:
        with self.client() as client:
            return int(client.xlen(self.bus.queue)) - self.held()

    def held(self) -> int:
        """What was read, and neither acknowledged nor given up."""
        with self.client() as client:
            if not client.exists(self.bus.queue) or not client.xinfo_groups(self.bus.queue):
                return 0
            pending = client.xpending_range(self.bus.queue, GROUP, min="-", max="+", count=1000)
        return sum(one["time_since_delivered"] < 1000 * TAKEN_SECONDS for one in pending)

    def dead(self) -> list[Any]:
        with self.client() as client:
            found = [fields for _, fields in client.xrange(f"{self.bus.queue}.dead")]
        given = [{name.decode(): value.decode() for name, value in fields.items()} for fields in found]
        return [
            Entry(
                json.dumps({"id": one["id"], "reason": one["reason"]}).encode(),
                "application/json",
                headers={NOTICE_ID: one["id"], REASON: one["reason"], REFUSED_AT: one["refused_at"]},
            )
            for one in given
        ]

    def clean(self) -> None:
        with suppress(redis.ConnectionError), self.client() as client:
            for key in client.scan_iter(f"*{self.bus.queue}*", count=1000):
                client.delete(key)


def a_bus(url: str, **more: Any) -> Bus:
    """Not through the model: it takes a password from the environment only."""
    return Bus.model_construct(**{"url": url, "queue": f"test.{uuid.uuid4().hex[:12]}", **more})


def broker_of(bus: Bus) -> Any:
    return Amqp(bus) if bus.url.startswith("amqp") else Redis(bus)
