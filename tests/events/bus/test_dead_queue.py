"""The dead queue has notices of refused messages, which are stored; and what is refused can be put back."""

import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from amqp.exceptions import AMQPError

from onboarding_worker.events.brokers.connection import connection_to
from onboarding_worker.events.bus import sources
from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, REASON
from onboarding_worker.events.bus.dead_letters import AmqpDead, shown
from onboarding_worker.events.bus.sources import events_of
from tests.events.bus.brokers import requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import wait_until

BAD = [b'{"order": %d, "email": "quirin@example.com"}' % n for n in range(5)]


@pytest.fixture
def refused(broker: Any, inbox: FakeInbox, caplog: Any) -> Any:
    """A bus that has refused five events."""
    broker.publish(*BAD, content_type="application/json", headers={"trace": "t-1"})
    # The queue is read once all are there: reading while more come in may change their order on RabbitMQ.
    with consuming(broker.bus, inbox):
        wait_until(lambda: any("; 5 in all" in message for message in caplog.messages), "all are refused")
    return broker


def ids_of(broker: Any) -> list[UUID]:
    return [UUID(notice.headers[NOTICE_ID]) for notice in broker.dead()]


def test_a_notice_has_the_id_and_the_reason_and_nothing_that_the_message_says(refused: Any, inbox: FakeInbox):
    notices = refused.dead()
    assert [json.loads(notice.body) for notice in notices] == [
        {"id": notice.headers[NOTICE_ID], "reason": notice.headers[REASON]} for notice in notices
    ]
    assert [inbox.message(id_).body for id_ in ids_of(refused)] == BAD
    for notice in notices:
        assert notice.headers.keys() - {"x-delivery-count"} == {REASON, NOTICE_ID, "x-refused-at"}
        assert notice.content_type == "application/json"
        assert notice.headers[REASON].startswith("type is missing")
        assert not any(word in str(vars(notice)) for word in ("quirin", "t-1", "order"))


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_who_looks_and_is_killed_takes_nothing_along(refused: Any):
    before = ids_of(refused)
    connection = connection_to(refused.bus.url)
    connection.connect()
    queue = AmqpDead(connection, events_of(refused.bus).topology)
    with suppress(AMQPError, OSError), queue._channel() as channel:
        assert len(list(queue._delivered(channel))) == 5
        connection.collect()  # no good-bye, as with kill -9
    connection.release()
    wait_until(lambda: sorted(ids_of(refused)) == sorted(before), "all are there")


def test_what_is_looked_at_stays_in_its_order(refused: Any):
    before = ids_of(refused)
    for _ in range(25):  # more often than a message may be handed out elsewhere
        assert ids_of(refused) == before


def test_one_is_put_back_as_it_came_and_its_notice_goes(refused: Any, inbox: FakeInbox):
    ids = ids_of(refused)
    assert refused.put_back(inbox, ids[2]) == 1
    assert refused.waiting() == 1
    wait_until(lambda: sorted(ids_of(refused)) == sorted([*ids[:2], *ids[3:]]), "the rest stays")
    with consuming(refused.bus, inbox):
        wait_until(lambda: len(refused.dead()) == 5, "it is refused again")
    assert sorted(ids_of(refused)) == sorted(ids)
    assert inbox.message(ids[2]).headers == {"trace": "t-1"}


def test_all_are_put_back_once_even_if_they_are_refused_again_meanwhile(refused: Any, inbox: FakeInbox):
    with consuming(refused.bus, inbox):
        assert refused.put_back(inbox, *ids_of(refused)) == 5
        wait_until(lambda: len(refused.dead()) == 5, "all are refused again")
    assert refused.waiting() == 0


def test_an_id_that_is_not_there_changes_nothing(refused: Any):
    before = ids_of(refused)
    with refused.dead_queue() as queue:
        assert queue.forget([UUID(int=0)]) == 0
    wait_until(lambda: ids_of(refused) == before, "all are there")


def test_the_notices_are_bounded(redis_url: str, make_broker: Any, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onboarding_worker.events.bus.links.MOST_NOTICES", 2)
    broker = make_broker(redis_url)
    broker.publish(*BAD, content_type="application/json")
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(inbox.refused) == 5 and broker.held() == 0, "all are refused")
    assert [inbox.message(id_).body for id_ in ids_of(broker)] == BAD[-2:]


def test_rabbitmq_bounds_the_notices_itself():
    arguments = sources.Topology("x", on_amqp=True).amqp_queues["x.dead"]
    assert (arguments["x-max-length"], arguments["x-message-ttl"]) == (sources.MOST_NOTICES, 14 * 86_400_000)


def test_what_was_refused_for_want_of_a_release_is_taken_when_it_is_put_back(broker: Any, inbox: FakeInbox):
    inbox.breaks_at = "1"
    broker.publish(requested("C-7"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
        inbox.breaks_at = ""
        assert broker.put_back(inbox, *ids_of(broker)) == 1
        wait_until(lambda: inbox.customers == ["C-7"], "it is taken")
    assert broker.dead() == []


def test_what_is_shown_of_an_event_is_its_form_and_nothing_that_it_says(broker: Any, inbox: FakeInbox):
    event = "3f6f6f0e-0b7e-4a44-9d0e-8d5f7c1f2a10"
    body = requested("C-77", id=event, phone="+37060000001", tags=["vip"])
    body = body.replace(b'"country"', b'"quirin@example.com"')
    broker.publish(body, headers={"traceparent": "secret-trace", "quirin@example.com": "x"})
    inbox.breaks_at = event
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    ((id_, message),) = inbox.refused.items()
    assert (message.kind, message.event, message.size) == ("onboarding.requested", event, len(body))
    assert message.customer_id == "C-77"
    form = shown(inbox.message(id_))
    assert form["body"]["data"] == {
        "customer_id": "a text of 4",
        "email": "a text of 16",
        "a key of 18": "a text of 2",
        "phone": "a text of 12",
        "tags": ["a text of 3"],
    }
    assert form["headers"]["traceparent"] == "a text of 12"
    for value in ("C-77", "example.com", "+370", "vip", "secret"):
        assert value not in json.dumps(form) + repr(message)
