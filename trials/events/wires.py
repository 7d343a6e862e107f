"""Plain clients, none of them ours: pika for RabbitMQ, redis-py for Redis, the standard library for HTTP.

They publish as docs/bus.md tells other people's producers to, and look at queues without the worker's help.
"""

import base64
import contextlib
import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pika
import pika.exceptions
import redis
import redis.backoff
import redis.retry

from trials.events.told import Message

T = TypeVar("T")
QUEUE = "onboarding.requests"
DEAD = f"{QUEUE}.dead"
OUT = "onboarding.events"
HEARD = "somebody-elses"  # the queue of one who listens to what we publish
PATIENCE = 90.0  # seconds that a producer goes on trying while its broker is away
UNREACHABLE = (pika.exceptions.AMQPError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


@dataclass(frozen=True)
class Dead:
    """A refused message, as it lies in the dead queue."""

    body: bytes
    reason: str


class Wire(Protocol):
    def publish(self, messages: Iterable[Message]) -> int:
        """Publish them in order, each until the broker has it; how many it may hold twice for that."""

    def ready(self) -> bool:
        """Whether the consumers' queue is there to be published to."""

    def left(self) -> int:
        """Messages that wait, or are taken and not acknowledged."""

    def number_dead(self) -> int:
        """How many messages the dead queue holds."""

    def dead(self) -> list[Dead]:
        """Everything in the dead queue, which stays there."""

    def listen(self) -> None:
        """Keep what is published from now on."""

    def heard(self) -> list[bytes]:
        """What was published since, in its order."""


def _insist(act: Callable[[], T], again: Callable[[], None]) -> tuple[T, bool]:
    """Do it until it is done, for as long as the broker may be away; and whether it may have been done twice."""
    deadline, doubtful = time.monotonic() + PATIENCE, False
    while True:
        try:
            return act(), doubtful
        except UNREACHABLE:
            if time.monotonic() > deadline:
                raise
            doubtful = True
            time.sleep(0.2)
            with contextlib.suppress(*UNREACHABLE):
                again()


class Amqp:
    """RabbitMQ. Every message is persistent, and confirmed before the next."""

    def __init__(self, url: str) -> None:
        # Else it takes "//" for an empty name, and a virtual host's is "/".
        self._parameters = pika.URLParameters(url.removesuffix("//") + "/%2F")

    @contextlib.contextmanager
    def _channel(self) -> Any:
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            yield connection.channel()

    def publish(self, messages: Iterable[Message]) -> int:
        connection: pika.BlockingConnection | None = None
        channel: Any = None
        doubtful = 0

        def connect() -> None:
            nonlocal connection, channel
            connection = pika.BlockingConnection(self._parameters)
            channel = connection.channel()
            channel.confirm_delivery()

        _insist(connect, lambda: None)
        for message in messages:
            headers = dict(message.headers) or None
            properties = pika.BasicProperties(message.content_type, message.encoding, headers, delivery_mode=2)

            def send(body: bytes = message.body, properties: Any = properties) -> None:
                # Through the default exchange: who has no rights on ours does so too.
                channel.basic_publish("", QUEUE, body, properties, mandatory=True)

            doubtful += _insist(send, connect)[1]
        with contextlib.suppress(*UNREACHABLE):
            if connection is not None:
                connection.close()
        return doubtful

    def ready(self) -> bool:
        try:
            with self._channel() as channel:
                channel.queue_declare(QUEUE, passive=True)
        except UNREACHABLE:
            return False
        return True

    def left(self) -> int:
        """Those that are ready. What is taken and unacknowledged is here again once its consumer has ended."""
        return self._depth(QUEUE)

    def number_dead(self) -> int:
        return self._depth(DEAD)

    def _depth(self, queue: str) -> int:
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def dead(self) -> list[Dead]:
        found = []
        with self._channel() as channel:
            while True:
                method, properties, body = channel.basic_get(DEAD)
                if method is None:
                    return found  # and what was got goes back with the connection
                found.append(Dead(body, str((properties.headers or {}).get("x-reason") or "")))

    def listen(self) -> None:
        with self._channel() as channel:
            channel.exchange_declare(OUT, "topic", durable=True)
            channel.queue_declare(HEARD, durable=True)
            channel.queue_bind(HEARD, OUT, "#")

    def heard(self) -> list[bytes]:
        found = []
        with self._channel() as channel:
            while True:
                method, _, body = channel.basic_get(HEARD)
                if method is None:
                    return found
                found.append(body)


class RedisLists:
    """Redis, in the envelope that kombu reads."""

    def __init__(self, url: str) -> None:
        # Its own retries would hide that something was sent twice.
        self._client = redis.Redis.from_url(url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))

    def publish(self, messages: Iterable[Message]) -> int:
        doubtful = 0
        for message in messages:
            entry = message.body if message.bare else enveloped(message)

            def push(entry: bytes = entry) -> None:
                self._client.lpush(QUEUE, entry)

            doubtful += _insist(push, lambda: None)[1]
        return doubtful

    def ready(self) -> bool:
        try:
            return bool(self._client.ping())
        except UNREACHABLE:
            return False

    def left(self) -> int:
        held, returned = f"{QUEUE}.taken", f"{QUEUE}.returned"
        return int(self._client.llen(QUEUE) + self._client.hlen(held) + self._client.llen(returned))

    def number_dead(self) -> int:
        return int(self._client.llen(DEAD))

    def dead(self) -> list[Dead]:
        found = []
        for entry in self._client.lrange(DEAD, 0, -1):
            envelope = json.loads(entry)
            body = envelope["body"].encode()
            if envelope["properties"].get("body_encoding") == "base64":
                body = base64.b64decode(body)
            found.append(Dead(body, str(envelope["headers"].get("x-reason") or "")))
        return found

    def listen(self) -> None:
        """A stream keeps what is published, whoever listens."""

    def heard(self) -> list[bytes]:
        return [fields[b"event"] for _, fields in self._client.xrange(OUT)]


def enveloped(message: Message) -> bytes:
    """A message as kombu's Redis transport writes one: docs/bus.md shows the same."""
    envelope = {
        "body": base64.b64encode(message.body).decode(),
        "content-type": message.content_type,
        "content-encoding": message.encoding or "utf-8",
        "headers": dict(message.headers),
        "properties": {
            "body_encoding": "base64",
            "delivery_mode": 2,
            "priority": 0,
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
        },
    }
    return json.dumps(envelope).encode()


def wire(url: str) -> Wire:
    return Amqp(url) if url.startswith("amqp") else RedisLists(url)


@dataclass(frozen=True)
class Answer:
    """What HTTP said."""

    status: int
    body: dict[str, Any]


def posted(port: int, key: str, messages: Sequence[Message]) -> list[Answer]:
    """Each as one POST /events over one kept connection. A 429 is waited for."""
    answers = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for message in messages:
            answers.append(_posted(connection, key, message))
    return answers


def _posted(connection: http.client.HTTPConnection, key: str, message: Message) -> Answer:
    headers = {"Authorization": f"Bearer {key}", **message.headers}
    if message.content_type:
        headers["Content-Type"] = message.content_type
    deadline = time.monotonic() + PATIENCE
    while True:
        connection.request("POST", "/events", message.body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in (429, 503) or time.monotonic() > deadline:
            try:
                body = json.loads(said)
            except ValueError:
                body = {}
            return Answer(answer.status, body if isinstance(body, dict) else {})
        time.sleep(min(float(answer.getheader("Retry-After") or 0.1), 2))
