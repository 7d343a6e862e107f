"""A broker that sends on and on, and never what is waited for, holds no thread for longer than the caller wants."""

import threading
import uuid

import pytest
import redis

from tests.conftest import NOON
from tests.publishers.events import events
from tests.suite.dripping import dripping
from tests.suite.waiting import ENDS_WITHIN
from worker.publishers.bus import AmqpBus
from worker.publishers.stream import RedisStream


@pytest.mark.parametrize("connects", [False, True], ids=["as-it-is-greeted", "later"])
@pytest.mark.parametrize(
    ("kind", "how"), [("redis", "redis"), ("amqp", "amqp"), ("amqp", "beats")], ids=["redis", "frame", "heartbeats"]
)
def test_publishing_ends_though_the_broker_drips(kind, how, connects, request):
    name = f"outbox-test-{uuid.uuid4().hex[:12]}"
    ending = threading.Event()
    with dripping(request.getfixturevalue(f"{kind}_url"), how) as broker:
        target = RedisStream(broker.url, name) if kind == "redis" else AmqpBus(broker.url, "amq.topic", declare=False)
        if connects:
            (first,) = target.publish(events(1), clock=lambda: NOON, goes_on=lambda: True)
            assert first.problem is None
        broker.drips.set()
        replies = []

        def publish() -> None:
            replies.extend(target.publish(events(3), clock=lambda: NOON, goes_on=lambda: not ending.is_set()))

        publishing = threading.Thread(target=publish, daemon=True)
        publishing.start()
        assert broker.is_heard.wait(ENDS_WITHIN)
        ending.set()
        publishing.join(ENDS_WITHIN)
        ended = not publishing.is_alive()
    publishing.join()
    assert ended
    (reply,) = replies
    assert reply.problem is not None
    assert reply.problem.unreachable
    target.close()
    if kind == "redis":
        with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client:
            client.delete(name)
