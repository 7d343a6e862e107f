"""Plain clients without our code: pika for RabbitMQ, redis-py for Redis, the standard library for HTTP.

They publish as docs/reference/bus.md tells producers to, and read queues without the worker.
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

from trials.events.event import Message

T = TypeVar("T")
QUEUE = "onboarding.requests"
DEAD = f"{QUEUE}.dead"
OUT = "onboarding.events"
LISTENER = "somebody-elses"  # the queue of another system that receives our events
PATIENCE = 90.0  # seconds that a producer keeps trying while its broker cannot be reached
UNREACHABLE = (pika.exceptions.AMQPError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Wire(Protocol):
    def publish(self, messages: Iterable[Message]) -> int:
        """Publish the messages in order, each until the broker has it. Returns how many it may have twice."""

    def ready(self) -> bool:
        """True if the consumers' queue exists."""

    def left(self) -> int:
        """The number of messages that wait, or are consumed and not acknowledged."""

    def number_dead(self) -> int:
        """The number of notices in the dead queue."""

    def notices(self) -> list[bytes]:
        """The notices in the dead queue, which stay there."""

    def listen(self) -> None:
        """Keep the events that are published from now on."""

    def published(self) -> list[bytes]:
        """The events published since `listen`, in their order."""


def _insist(act: Callable[[], T], again: Callable[[], None]) -> tuple[T, bool]:
    """Repeat it until it succeeds, for at most PATIENCE. Returns its result, and True if it may have run twice."""
    deadline, unconfirmed = time.monotonic() + PATIENCE, False
    while True:
        try:
            return act(), unconfirmed
        except UNREACHABLE:
            if time.monotonic() > deadline:
                raise
            unconfirmed = True
            time.sleep(0.2)
            with contextlib.suppress(*UNREACHABLE):
                again()


class Amqp:
    """RabbitMQ. Every message is persistent, and is confirmed before the next one is sent."""

    def __init__(self, url: str) -> None:
        # pika would read "//" as an empty name; the virtual host's name is "/".
        self._parameters = pika.URLParameters(url.removesuffix("//") + "/%2F")

    @contextlib.contextmanager
    def _channel(self) -> Any:
        with contextlib.closing(pika.BlockingConnection(self._parameters)) as connection:
            yield connection.channel()

    def publish(self, messages: Iterable[Message]) -> int:
        connection: pika.BlockingConnection | None = None
        channel: Any = None
        unconfirmed = 0

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
                # Over the default exchange, as a producer without rights on our exchange does.
                channel.basic_publish("", QUEUE, body, properties, mandatory=True)

            unconfirmed += _insist(send, connect)[1]
        with contextlib.suppress(*UNREACHABLE):
            if connection is not None:
                connection.close()
        return unconfirmed

    def ready(self) -> bool:
        try:
            with self._channel() as channel:
                channel.queue_declare(QUEUE, passive=True)
        except UNREACHABLE:
            return False
        return True

    def left(self) -> int:
        """The ready messages. Unacknowledged messages are ready again after their consumer has ended."""
        return self._depth(QUEUE)

    def number_dead(self) -> int:
        return self._depth(DEAD)

    def _depth(self, queue: str) -> int:
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def notices(self) -> list[bytes]:
        found = []
        with self._channel() as channel:
            while True:
                method, properties, body = channel.basic_get(DEAD)
                if method is None:
                    return found  # when the connection closes, the broker returns the notices to the queue
                found.append(body + json.dumps(properties.headers, default=str).encode())

    def listen(self) -> None:
        with self._channel() as channel:
            channel.exchange_declare(OUT, "topic", durable=True)
            channel.queue_declare(LISTENER, durable=True)
            channel.queue_bind(LISTENER, OUT, "#")

    def published(self) -> list[bytes]:
        found = []
        with self._channel() as channel:
            while True:
                method, _, body = channel.basic_get(LISTENER)
                if method is None:
                    return found
                found.append(body)


class RedisLists:
    """Redis, in the envelope that kombu reads."""

    def __init__(self, url: str) -> None:
        # redis-py's own retries would hide a message that was sent twice.
        self._client = redis.Redis.from_url(url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))

    def publish(self, messages: Iterable[Message]) -> int:
        unconfirmed = 0
        for message in messages:
            entry = message.body if message.bare else enveloped(message)

            def push(entry: bytes = entry) -> None:
                self._client.lpush(QUEUE, entry)

            unconfirmed += _insist(push, lambda: None)[1]
        return unconfirmed

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

    def notices(self) -> list[bytes]:
        found = []
        for entry in self._client.lrange(DEAD, 0, -1):
            envelope = json.loads(entry)
            found.append(base64.b64decode(envelope["body"]) + json.dumps(envelope["headers"]).encode())
        return found

    def listen(self) -> None:
        """Do nothing: a stream keeps what is published."""

    def published(self) -> list[bytes]:
        return [fields[b"event"] for _, fields in self._client.xrange(OUT)]


def enveloped(message: Message) -> bytes:
    """A message in the envelope of kombu's Redis transport, as in docs/reference/bus.md."""
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
    """The response to a POST."""

    status: int
    body: dict[str, Any]


def posted(port: int, key: str, messages: Sequence[Message]) -> list[Answer]:
    """Post each message to /events over one kept connection, and wait after a 429."""
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
        content = answer.read()
        if answer.status not in (429, 503) or time.monotonic() > deadline:
            try:
                body = json.loads(content)
            except ValueError:
                body = {}
            return Answer(answer.status, body if isinstance(body, dict) else {})
        time.sleep(min(float(answer.getheader("Retry-After") or 0.1), 2))
