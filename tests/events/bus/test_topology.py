"""What is made on a broker, and what is reported where an existing queue does not fit."""

from dataclasses import replace
from typing import Any

import pytest

from onboarding_worker.events.bus.sources import Unfit, events_of
from onboarding_worker.runtime.bus_consumers import link_to
from tests.events.bus.brokers import requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import ENDS_WITHIN


def prepared(broker: Any, *, declare: bool) -> list[str]:
    warnings: list[str] = []
    with link_to(replace(events_of(broker.bus), declare=declare), 1, warnings.append):
        pass
    return warnings


def test_declaring_again_changes_nothing(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url)
    broker.publish(requested())
    assert prepared(broker, declare=True) == []
    assert broker.waiting() == 1


def test_what_was_declared_is_found_fit(broker: Any):
    assert prepared(broker, declare=False) == []


def test_without_declaring_all_that_is_missing_is_named_and_nothing_is_made(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url, declared=False)
    name = broker.bus.queue
    for _ in range(2):
        with pytest.raises(Unfit) as raised:
            prepared(broker, declare=False)
        said = str(raised.value)
        for missing in (f"the exchange {name}.dead", f"the queue {name}", "bus.declare = true"):
            assert missing in said


def test_without_declaring_producers_may_publish_to_an_exchange_of_their_own(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url)
    with broker.channel() as channel:
        channel.exchange_delete(broker.bus.queue)
    assert prepared(broker, declare=False) == []


def test_without_declaring_a_queue_that_differs_is_used_and_named(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url)
    with broker.channel() as channel:
        channel.queue_delete(broker.bus.queue)
        channel.queue_declare(broker.bus.queue, durable=True)
    (warning,) = prepared(broker, declare=False)
    assert f"the queue {broker.bus.queue} differs" in warning
    assert "(x-" in warning


def test_declaring_what_is_there_and_differs_says_what_to_do(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url, declared=False)
    with broker.channel() as channel:
        channel.queue_declare(broker.bus.queue, durable=True)
    with pytest.raises(Unfit, match=r"exists and differs \(x-[a-z-]+\).*delete it.*bus\.declare = false"):
        prepared(broker, declare=True)


def test_an_exchange_of_another_type_is_named(amqp_url: str, make_broker: Any):
    broker = make_broker(amqp_url, declared=False)
    with broker.channel() as channel:
        channel.exchange_declare(broker.bus.queue, "fanout", durable=True)
    with pytest.raises(Unfit, match=f"the exchange {broker.bus.queue} exists and differs"):
        prepared(broker, declare=True)


def test_a_start_where_the_bus_does_not_fit_ends_with_the_reason(amqp_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker(amqp_url, declared=False, declare=False)
    with pytest.raises(Unfit, match="lacks"), consuming(broker.bus, inbox) as running:
        running.thread.join(ENDS_WITHIN)


def test_redis_without_the_stream_or_with_another_key_says_what_to_do(redis_url: str, make_broker: Any):
    broker = make_broker(redis_url, declared=False)
    with pytest.raises(Unfit, match=r"lacks the stream .*XGROUP CREATE"):
        prepared(broker, declare=False)
    with broker.client() as client:
        client.lpush(broker.bus.queue, "somebody else's")
    with pytest.raises(Unfit, match="is no stream"):
        prepared(broker, declare=True)
