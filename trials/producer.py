"""A producer of events without any code of ours: pika and redis-py, used as docs/reference/bus.md says."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pika
import pika.exceptions
import redis
import redis.backoff
import redis.retry

from trials.customers import Listed, columns_of

QUEUE = "onboarding.requests"
CONTENT_TYPE = "application/cloudevents+json"
AGAIN = 0.2  # share of events that are sent twice
PATIENCE = 120.0  # seconds that it tries while its broker, or the queue, is not there
UNREACHABLE = (
    *(pika.exceptions.AMQPError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError),
    ValueError,  # pika polls a socket that it has closed
)


def id_of(one: Listed) -> str:
    return f"signup-{one.index}"


class Producer(threading.Thread):
    """Asks for these customers, one after the other. Where the broker may not have an event, it is sent again."""

    def __init__(self, url: str, customers: Sequence[Listed], *, seconds: float, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._url, self._customers, self._seconds, self._chance = url, customers, seconds, chance
        self.failed = ""

    def run(self) -> None:
        try:
            self._publish()
        except Exception as error:
            self.failed = f"every_event_is_stored_once: the producer ended with {type(error).__name__}"

    def _publish(self) -> None:
        publish = _amqp(self._url) if self._url.startswith("amqp") else _redis(self._url)
        for one in self._customers:
            data = {name: value for name, value in columns_of(one).items() if value}
            event = {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": id_of(one)}
            body = json.dumps(event | {"datacontenttype": "application/json", "data": data}).encode()
            for _ in range(2 if self._chance.random() < AGAIN else 1):
                deadline = time.monotonic() + PATIENCE
                while not publish(body):
                    if time.monotonic() > deadline:
                        self.failed = f"every_event_is_stored_once: {id_of(one)} could not be published"
                        return
                    time.sleep(0.2)
            time.sleep(self._seconds / len(self._customers))


def _amqp(url: str) -> Callable[[bytes], bool]:
    # pika would read "//" as an empty name; the virtual host's name is "/".
    parameters = pika.URLParameters(url.removesuffix("//") + "/%2F")
    channel: Any = None

    def publish(body: bytes) -> bool:
        nonlocal channel
        try:
            if channel is None:
                channel = pika.BlockingConnection(parameters).channel()
                channel.confirm_delivery()
            # Over the default exchange, as a producer without rights on our exchange does.
            properties = pika.BasicProperties(CONTENT_TYPE, delivery_mode=2)
            channel.basic_publish("", QUEUE, body, properties, mandatory=True)
        except UNREACHABLE:
            with contextlib.suppress(*UNREACHABLE, AttributeError):
                channel.connection.close()
            channel = None
            return False
        return True

    return publish


def _redis(url: str) -> Callable[[bytes], bool]:
    client = redis.Redis.from_url(url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))

    def publish(body: bytes) -> bool:
        try:
            client.xadd(QUEUE, {"event": body})
        except UNREACHABLE:
            return False
        return True

    return publish
