"""A broker that sends on and on, and never a whole answer, keeps no thread of the bus from ending."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.inbound.bus.brokers import requested
from tests.inbound.bus.consuming import FakeInbox, consuming
from tests.suite.dripping import dripping
from tests.suite.waiting import ENDS_WITHIN, wait_until
from worker.domain.events.refused import NotPutBack
from worker.inbound.bus import consumer as module
from worker.inbound.bus import putting_back
from worker.inbound.bus.connection import connection_to
from worker.inbound.bus.dead_letters import place_of
from worker.inbound.bus.sources import events_of

each_way = pytest.mark.parametrize(
    ("kind", "how"), [("redis", "redis"), ("amqp", "amqp"), ("amqp", "beats")], indirect=["kind"], ids=str
)


@each_way
def test_a_consumer_ends_though_its_broker_drips(
    broker: Any, how: str, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.1)
    with dripping(broker.bus.url, how) as dripped:
        with consuming(broker.bus, inbox, lambda: connection_to(dripped.url, broker.bus.queue)) as running:
            broker.publish(requested())
            wait_until(lambda: inbox.seen == 1, "it is taken")
            dripped.drips.set()
            assert dripped.is_heard.wait(ENDS_WITHIN)
            running.consumer.stop()
            running.thread.join(ENDS_WITHIN)
            ended = not running.thread.is_alive()
            dripped.close()
        assert ended
    assert not any(thread.name == "bus" for thread in threading.enumerate())


@each_way
def test_putting_back_ends_though_the_broker_drips(broker: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting_back, "ALL_SECONDS", 0.2)
    failed: list[Exception] = []
    with dripping(broker.bus.url, how) as dripped:
        source = replace(events_of(broker.bus), url=dripped.url)
        monkeypatch.setattr(putting_back, "_places", lambda _settings: [(place_of(source.topology), source)])
        dripped.drips.set()

        def put_back() -> None:
            try:
                with putting_back._opened(None):  # type: ignore[arg-type]
                    pass
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=put_back, daemon=True)
        thread.start()
        thread.join(ENDS_WITHIN)
        ended = not thread.is_alive()
    thread.join()
    assert ended
    assert [type(error) for error in failed] == [NotPutBack]
