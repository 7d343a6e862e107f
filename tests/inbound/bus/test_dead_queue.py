"""The dead queue: looked at without a loss, and put back."""

import json
from typing import Any

import pytest

from tests.inbound.bus.brokers import requested
from tests.inbound.bus.consuming import FakeInbox, consuming
from trials.servers import until as wait_until
from worker.inbound.bus.connection import connection_to
from worker.inbound.bus.dead_letters import dead_from, dead_queue, id_of, place_of, shown
from worker.inbound.bus.topology import topology_of

BAD = [b'{"order": %d, "email": "quirin@example.com"}' % n for n in range(5)]


@pytest.fixture
def refused(broker: Any, caplog: Any) -> Any:
    """A bus with five events in its dead queue."""
    broker.publish(*BAD, content_type="application/json", headers={"trace": "t-1"})
    # The queue is read once all are there: reading while more come in may change their order on RabbitMQ.
    with consuming(broker.bus, FakeInbox()):
        wait_until(lambda: sum("5 refused" in message for message in caplog.messages) == 1, "all are refused")
    return broker


def test_what_is_looked_at_stays_in_its_order(refused: Any):
    for _ in range(25):  # more often than a message may be handed out elsewhere
        with connection_to(refused.bus.url, refused.bus.queue) as connection:
            connection.connect()
            with dead_queue(connection, place_of(topology_of(refused.bus))) as queue:
                assert [message.body for message in queue.look(3)] == BAD[:3]
    wait_until(lambda: [message.body for message in refused.dead()] == BAD, "all are there")


def test_who_looks_and_is_killed_takes_nothing_along(refused: Any):
    connection = connection_to(refused.bus.url, refused.bus.queue)
    connection.connect()
    with dead_queue(connection, place_of(topology_of(refused.bus))) as queue:
        looking = queue.look(5)
        next(looking)
        next(looking)
        connection.collect()  # no good-bye, as with kill -9
    wait_until(lambda: sorted(message.body for message in refused.dead()) == BAD, "all are there")


def test_one_is_put_back_by_its_id_as_it_came(refused: Any):
    ids = [id_of(message) for message in refused.dead()]
    assert refused.put_back(ids[2]) == 1
    assert refused.waiting() == 1
    wait_until(lambda: sorted(message.body for message in refused.dead()) == [*BAD[:2], *BAD[3:]], "the rest stays")
    with consuming(refused.bus, FakeInbox()):
        wait_until(lambda: len(refused.dead()) == 5, "it is refused again")
    again = refused.dead()
    assert sorted(map(id_of, again)) == sorted(ids)
    assert {message.headers["trace"] for message in again} == {"t-1"}


def test_all_are_put_back_once_even_if_they_are_refused_again_meanwhile(refused: Any):
    with consuming(refused.bus, FakeInbox()):
        assert refused.put_back() == 5
        wait_until(lambda: len(refused.dead()) == 5, "all are refused again")
    assert refused.waiting() == 0


def test_an_id_that_is_not_there_changes_nothing(refused: Any):
    assert refused.put_back("0000000000000000") == 0
    wait_until(lambda: [message.body for message in refused.dead()] == BAD, "all are there")


def test_what_was_refused_for_want_of_a_release_is_taken_when_it_is_put_back(broker: Any, inbox: FakeInbox):
    inbox.breaks_at = "1"
    broker.publish(requested("C-7"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
        inbox.breaks_at = ""
        assert broker.put_back() == 1
        wait_until(lambda: inbox.customers == ["C-7"], "it is taken")
    assert broker.dead() == []


def test_a_cloud_event_that_was_pushed_without_an_envelope_is_taken_when_it_is_put_back(
    redis_url: str, make_broker: Any, inbox: FakeInbox
):
    broker = make_broker(redis_url)
    broker.push(requested("C-7"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
        assert broker.put_back() == 1
        wait_until(lambda: inbox.customers == ["C-7"], "it is taken")


def test_what_is_shown_of_an_event_is_its_form_and_nothing_that_it_says(broker: Any):
    body = requested("C-77", id="3f6f6f0e-0b7e-4a44-9d0e-8d5f7c1f2a10", phone="+37060000001", tags=["vip"])
    body = body.replace(b'"country"', b'"quirin@example.com"')
    broker.publish(body, headers={"traceparent": "secret-trace", "quirin@example.com": "x"})

    class Refusing(FakeInbox):
        breaks_at = "3f6f6f0e-0b7e-4a44-9d0e-8d5f7c1f2a10"

    with consuming(broker.bus, FakeInbox(breaks_at=Refusing.breaks_at)):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    (message,) = broker.dead()
    facts = dead_from(message, broker.bus.queue)
    assert (facts.type, facts.event, facts.size) == ("onboarding.requested", Refusing.breaks_at, len(body))
    form = shown(message)
    assert form["body"]["data"] == {
        "customer_id": "a text of 4",
        "email": "a text of 16",
        "a key of 18": "a text of 2",
        "phone": "a text of 12",
        "tags": ["a text of 3"],
    }
    assert form["headers"]["traceparent"] == "a text of 12"
    for value in ("C-77", "example.com", "+370", "vip", "secret"):
        assert value not in json.dumps(form) + repr(facts)
