"""Events from the bus are taken in, in chunks, and acknowledged after the commit. On real brokers."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.database.postgresql_engine import CONNECT_SECONDS, LOCK_SECONDS
from onboarding_worker.core.model.incoming import EventKind, EventReceipt, Outcome, Received
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, REASON, REFUSED_AT
from onboarding_worker.events.bus.links import TAKEN_SECONDS
from onboarding_worker.events.bus.sources import events_of
from tests.events.bus.brokers import requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import ENDS_WITHIN, wait_until

PAGE = Path(__file__).parents[3] / "docs/reference/bus.md"


def test_events_that_come_together_are_taken_together(broker: Any, inbox: FakeInbox):
    broker.publish(*(requested(f"C-{n}", id=str(n)) for n in range(50)))
    with consuming(broker.bus, inbox) as running:
        wait_until(lambda: inbox.seen == 50, "all are taken")
        assert sum(inbox.chunks) == 50
        assert len(inbox.chunks) < 25
    assert running.woken == [WakeUp.issue("kyc")] * len(inbox.chunks)
    assert (broker.waiting(), broker.held(), inbox.seen) == (0, 0, 50)


def test_the_end_of_a_burst_is_logged_while_no_more_events_come(
    broker: Any, inbox: FakeInbox, caplog: Any, monkeypatch: Any
):
    monkeypatch.setattr("onboarding_worker.core.foundation.logs.EVERY_SECONDS", 0.5)
    with consuming(broker.bus, inbox):
        broker.publish(requested("C-1", id="1"))
        wait_until(lambda: any("; 1 in all" in line for line in caplog.messages), "the first is logged at once")
        broker.publish(requested("C-2", id="2"))
        wait_until(lambda: any("; 2 in all" in line for line in caplog.messages), "both are logged")


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
@pytest.mark.parametrize("declared", [True, False])
def test_what_the_page_adds_to_a_stream_is_taken_also_if_it_was_there_first(
    make_broker: Any, bus_url: str, inbox: FakeInbox, declared: bool
):
    source = PAGE.read_text("utf-8").split("```python\n")[2].partition("```")[0]
    broker = make_broker(bus_url, declared=declared)
    with broker.client() as client:
        names: dict[str, Any] = {}
        exec(compile(source.replace("onboarding.requests", broker.bus.queue), str(PAGE), "exec"), names)  # noqa: S102
        names["publish"](client, json.loads(requested()))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1, "it is taken")
    assert inbox.customers == ["C-1"]


def test_one_event_alone_is_taken_at_once(broker: Any, inbox: FakeInbox):
    with consuming(broker.bus, inbox):
        for n in range(3):
            broker.publish(requested(id=str(n)))
            wait_until(lambda n=n: inbox.seen == n + 1, "it is taken")
    assert inbox.chunks == [1, 1, 1]


def test_no_more_are_taken_at_once_than_the_source_allows(make_broker: Any, bus_url: str, inbox: FakeInbox):
    broker = make_broker(bus_url)
    broker.publish(*(requested(id=str(n)) for n in range(30)))
    with consuming(replace(events_of(broker.bus), prefetch=7), inbox):
        wait_until(lambda: inbox.seen == 30, "all are taken")
    assert max(inbox.chunks) <= 7


def test_each_event_is_taken_by_one_of_several_consumers(broker: Any):
    inboxes = [FakeInbox(), FakeInbox(), FakeInbox()]
    with consuming(broker.bus, inboxes[0]), consuming(broker.bus, inboxes[1]), consuming(broker.bus, inboxes[2]):
        broker.publish(*(requested(f"C-{n}", id=str(n)) for n in range(300)))
        wait_until(lambda: sum(inbox.seen for inbox in inboxes) >= 300, "all are taken")
    assert sum(inbox.seen for inbox in inboxes) == 300
    assert len({key for inbox in inboxes for key in inbox.taken}) == 300


def test_nothing_is_acknowledged_before_the_commit(broker: Any, inbox: FakeInbox):
    class Slow(FakeInbox):
        begun, go_on = threading.Event(), threading.Event()

        def receive(self, events: Any) -> Received:
            self.begun.set()
            assert self.go_on.wait(ENDS_WITHIN)
            raise SystemExit  # the process ends between the commit and the acknowledgement

    broker.publish(requested())
    slow = Slow()
    slow.go_on.set()
    with pytest.raises(SystemExit), consuming(broker.bus, slow):
        assert slow.begun.wait(ENDS_WITHIN)
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1, "it comes again")


def test_what_is_refused_is_kept_as_it_came_and_the_dead_queue_has_its_reason(broker: Any):
    class Refusing(FakeInbox):
        def receive(self, events: Any) -> Received:
            super().receive(events)
            return Received(
                [EventReceipt(Outcome.REFUSED, reason="the customer is not well described") for _ in events]
            )

    broker.publish(requested("C-9"), headers={"trace": "t-1"})
    inbox = Refusing()
    columns = {"customer_id": "external_ref", "country": "customer_id"}
    with consuming(replace(events_of(broker.bus), columns=columns), inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    ((id_, kept),) = inbox.refused.items()
    assert kept.customer_id == "DE"
    message = inbox.message(id_)
    assert message.body == requested("C-9")
    assert message.content_type == "application/cloudevents+json"
    assert message.headers["trace"] == "t-1"
    assert kept.reason == "the customer is not well described"
    (notice,) = broker.dead()
    assert (notice.headers[REASON], notice.headers[NOTICE_ID]) == (kept.reason, str(id_))
    assert notice.headers[REFUSED_AT] == "2026-11-20T12:00:00Z"
    assert broker.waiting() == 0


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_an_event_that_comes_while_a_notice_is_confirmed_is_taken_too(broker: Any):
    class Refusing(FakeInbox):
        def keep(self, refused: Any) -> Any:
            broker.publish(requested("C-2", id="2"))
            wait_until(lambda: broker.waiting() == 0, "it is on its way to us, before the confirmation of the notice")
            return super().keep(refused)

    inbox = Refusing()
    broker.publish(b"no event")
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "the first is refused")
        broker.publish(requested("C-3", id="3"))
        wait_until(lambda: "C-3" in inbox.customers, "what comes later is taken")
    assert inbox.customers == ["C-2", "C-3"]


def test_an_event_that_meets_a_bug_is_refused_and_the_rest_is_taken(broker: Any, inbox: FakeInbox, caplog: Any):
    inbox.breaks_at = "3"
    broker.publish(*(requested(id=str(n)) for n in range(6)))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 5 and len(broker.dead()) == 1, "all but one are taken")
    (notice,) = broker.dead()
    assert "ZeroDivisionError" in notice.headers[REASON]
    assert "somebody's name" not in caplog.text + str(notice.headers)


def test_plain_json_is_what_the_configuration_says_that_it_is(make_broker: Any, bus_url: str, inbox: FakeInbox):
    broker = make_broker(bus_url, plain="customer.updated")
    broker.publish(b'{"customer_id": "C-1"}', content_type="application/json")
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1, "it is taken")
    (event,) = inbox.taken.values()
    assert event.kind is EventKind.UPDATED


def test_a_consumer_that_stops_takes_its_delivered_events_and_leaves_the_rest(make_broker: Any, bus_url: str):
    class Waits(FakeInbox):
        begun, go_on = threading.Event(), threading.Event()

        def receive(self, events: Any) -> Received:
            self.begun.set()
            assert self.go_on.wait(ENDS_WITHIN)
            return super().receive(events)

    broker = make_broker(bus_url)
    waits = Waits()
    broker.publish(*(requested(id=str(n)) for n in range(40)))
    with consuming(replace(events_of(broker.bus), prefetch=5), waits) as running:
        assert waits.begun.wait(ENDS_WITHIN)
        running.consumer.stop()
        waits.go_on.set()
    assert 0 < waits.seen <= 20
    wait_until(lambda: broker.waiting() == 40 - waits.seen, "the rest is there, and no consumer holds it")


def test_a_newer_schema_stops_the_taking(broker: Any, inbox: FakeInbox):
    with consuming(broker.bus, inbox) as running:
        broker.publish(requested())
        wait_until(lambda: inbox.seen == 1, "one is taken")
        running.consumer._look_at = 0.0
        inbox.newer = "the database is newer than this release"
        running.thread.join(ENDS_WITHIN)
        assert running.consumer.outdated == "the database is newer than this release"
        broker.publish(requested(id="2"))
    assert inbox.seen == 1
    assert broker.waiting() == 1


def test_a_database_that_takes_no_writes_is_named_before_an_event_comes(broker: Any, inbox: FakeInbox, caplog: Any):
    idle = "bus idle, events stay in the broker: the database cannot be used: the server is read-only"
    with consuming(broker.bus, inbox) as running:
        inbox.read_only = "the server is read-only"
        running.consumer._look_at = 0.0
        wait_until(lambda: idle in caplog.messages, "it is logged")
        assert "the database is back: taking events" not in caplog.messages
        inbox.read_only = ""
        running.consumer._look_at = 0.0
        wait_until(lambda: "the database is back: taking events" in caplog.messages, "its end is logged")
    assert caplog.messages.count(idle) == 1


def test_the_same_event_twice_counts_as_known(broker: Any, inbox: FakeInbox):
    broker.publish(requested(), requested())
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 2, "both are taken")
    assert len(inbox.taken) == 1


def test_on_redis_a_consumer_that_waits_for_the_database_keeps_its_entries():
    """They are renewed three times as often as they go back, but not while the database is waited for."""
    assert TAKEN_SECONDS * 2 / 3 > CONNECT_SECONDS + LOCK_SECONDS
