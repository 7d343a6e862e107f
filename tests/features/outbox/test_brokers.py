"""Real RabbitMQ and Redis: clients get the published events, and an outage is one reply in bounded time."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from onboarding_worker.events.cloudevents import Happened, cloud_event
from onboarding_worker.features.outbox.publishers.bus import AmqpBus, RedisStream
from onboarding_worker.features.outbox.publishers.contract import Reply
from tests.conftest import NOON
from tests.events.outgoing import event, events
from trials.servers import free_port


def publish(target, published, goes_on=lambda: True) -> list[Reply]:
    return target.publish(published, clock=lambda: NOON, goes_on=goes_on)


@pytest.fixture
def exchange(amqp_url: str) -> Iterator[str]:
    name = f"outbox-test-{uuid.uuid4().hex[:12]}"
    yield name
    with Connection(amqp_url) as connection:
        connection.channel().exchange_delete(name)


@pytest.fixture
def bus(amqp_url: str, exchange: str) -> Iterator[AmqpBus]:
    made = AmqpBus(amqp_url, exchange, declare=True)
    yield made
    made.close()


@pytest.fixture
def queue(amqp_url: str, bus: AmqpBus, exchange: str) -> Iterator[Any]:
    """Binds a queue of the test's own to the exchange by a key; returns what it holds."""
    assert publish(bus, [event(1)]) == [Reply(1, NOON)]  # declared; no queue is bound yet
    with Connection(amqp_url) as connection:
        channel: Any = connection.channel()

        class Bound:
            name = ""

            def bind(self, key: str) -> None:
                self.name, _, _ = channel.queue_declare(durable=False, exclusive=True)
                channel.queue_bind(self.name, exchange, key)

            def all(self) -> list[Any]:
                messages = []
                while (message := channel.basic_get(self.name, no_ack=True)) is not None:
                    messages.append(message)
                return messages

        yield Bound()


def test_rabbitmq_routes_each_event_by_its_type(bus, queue):
    queue.bind("job.*")
    published = [event(2), event(3, kind=Happened.JOB_HELD.value), event(4, kind=Happened.JOB_FAILED.value)]
    assert {reply.number for reply in publish(bus, published) if reply.problem is None} == {2, 3, 4}
    held, failed = queue.all()
    assert held.body.encode() == cloud_event(published[1])
    assert held.properties["content_type"].startswith("application/cloudevents+json")
    assert held.properties["delivery_mode"] == 2
    assert held.properties["message_id"] == str(published[1].event_id)
    assert json.loads(failed.body)["type"] == "job.failed"


def test_a_chunk_is_confirmed_as_a_whole_and_arrives_in_its_order(bus, queue):
    queue.bind("#")
    replies = publish(bus, events(300))
    assert all(reply.problem is None for reply in replies)
    assert len(replies) == 300
    assert [json.loads(message.body)["data"]["job_id"] for message in queue.all()] == list(range(1, 301))


def test_an_answer_of_rabbitmq_that_names_all_messages_so_far_concerns_those_that_wait_for_one():
    """A channel's messages are counted for as long as it lives: a set of all of them would grow for ever."""
    bus = AmqpBus("amqp://127.0.0.1:9", "x", declare=True)
    before = 10**12
    bus._unanswered = {before + number for number in range(1, 7)}
    bus._on_ack(before + 2, True)
    bus._on_nack(before + 4, False)
    bus._on_ack(before + 5, False)
    assert bus._unanswered == {before + 3, before + 6}
    bus._on_nack(before + 6, True)
    assert bus._unanswered == set()
    assert bus._refused == {before + 4, before + 3, before + 6}


def test_an_exchange_that_is_only_checked_must_be_there(amqp_url):
    missing = AmqpBus(amqp_url, f"outbox-test-{uuid.uuid4().hex[:12]}", declare=False)
    (reply,) = publish(missing, events(3))
    missing.close()
    assert reply.number == 1
    assert reply.problem.detail == "the broker cannot be reached (NotFound)"


def test_an_ending_process_waits_for_rabbitmq_to_confirm_what_it_has_sent(bus, queue):
    """Else each end of a worker would publish these events twice."""
    queue.bind("#")
    (reply,) = publish(bus, events(3), goes_on=lambda: not bus._unanswered)  # ends once the first one is sent
    assert reply.problem is None
    assert len(queue.all()) == 1


def test_a_connection_that_was_cut_is_made_anew(bus, queue):
    queue.bind("#")
    bus._connection.connection.transport.sock.shutdown(2)
    (cut,) = publish(bus, events(3))
    assert cut.problem.unreachable
    assert len(publish(bus, events(3))) == 3


@pytest.mark.parametrize(
    "make", [lambda url: AmqpBus(f"amqp://{url}", "x", declare=True), lambda url: RedisStream(f"redis://{url}", "x")]
)
def test_a_broker_that_is_not_there_is_one_reply_that_names_no_address(make):
    port = free_port()
    target = make(f"somebody:s3cret@127.0.0.1:{port}")
    (reply,) = publish(target, events(20))
    target.close()
    assert reply.problem.unreachable
    assert not any(word in reply.problem.detail for word in ("s3cret", "somebody", str(port)))


@pytest.fixture
def stream(redis_url: str) -> Iterator[tuple[RedisStream, str, Any]]:
    """A stream of the test's own, its name, and a client of its server."""
    import redis

    name = f"outbox-test-{uuid.uuid4().hex[:12]}"
    made = RedisStream(redis_url, name)
    with redis.Redis.from_url(redis_url) as client:
        yield made, name, client
        client.delete(name)
    made.close()


def test_a_redis_stream_has_each_event_in_order_for_every_reader(stream):
    target, name, client = stream
    published = events(30)
    assert publish(target, published) == [Reply(one.number, NOON) for one in published]
    rows = client.xrange(name)
    assert [row[b"event"] for _, row in rows] == [cloud_event(one) for one in published]
    assert rows[0][1][b"type"] == b"session.issued"
    assert rows[0][1][b"customer_id"] == b"C-1"


def test_an_ending_process_waits_for_redis_to_take_what_it_has_sent(stream):
    (target, name, client), going_on = stream, iter([True])
    replies = publish(target, events(3), goes_on=lambda: next(going_on, False))
    assert [reply.problem for reply in replies] == [None] * 3
    assert client.exists(name) == 1


def test_an_event_that_redis_refuses_does_not_count_as_published(stream):
    target, name, client = stream
    client.set(name, "no stream")
    replies = publish(target, events(2))
    assert [reply.problem is not None and reply.problem.unreachable for reply in replies] == [True, True]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (("maxmemory", "1kb"), "the broker did not accept the event (its memory is full)"),
        (("requirepass", "another"), "the broker refuses this process (it refuses the user or the password)"),
    ],
)
def test_a_redis_that_answers_and_refuses_says_why(own_redis, setting, said):
    with own_redis.client() as client:
        client.config_set(*setting)
    target = RedisStream(own_redis.url, "events")
    replies = publish(target, events(2))
    target.close()
    assert {reply.problem and reply.problem.detail for reply in replies} == {said}
