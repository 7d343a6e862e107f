"""Whose a message is: its user's on RabbitMQ, else its queue's. And what that sender's events may do."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pika
import pytest

from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.incoming import OPERATOR, EventKind, EventSender, Outcome
from onboarding_worker.events.bus.consumer import take
from onboarding_worker.events.bus.dead_lettering import REASON, SENDER, message_id, message_in, refused_message
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.events.bus.sources import (
    NO_PROOF,
    NO_USER,
    UNKNOWN_USER,
    QueueSenders,
    events_of,
    senders_of_queue,
    sources_with_senders,
)
from onboarding_worker.events.cloudevents import Unreadable
from onboarding_worker.events.standing import NOT_ITS_CUSTOMER, NOT_ITS_ID, NOT_ITS_TYPE
from onboarding_worker.settings.load import load
from onboarding_worker.settings.outside import Bus, SenderOfEvents
from tests.conftest import SetClock
from tests.events.bus.brokers import requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.simulated.world import World
from tests.suite.waiting import wait_until

TABLE = {
    "signup": SenderOfEvents(users=("app", "app-2"), queues=("requests",)),
    "billing": SenderOfEvents(users=("billing",), types=("onboarding.requested", "customer.erased"), ids=("C-*",)),
    "crm": SenderOfEvents(queues=("events",)),
}
SIGNUP, BILLING, CRM = (sender.rights(name) for name, sender in TABLE.items())
KEYRING = Keyring([new_key()])
AMQP = senders_of_queue(TABLE, "events", on_amqp=True)


def message(user: str | None = None, body: bytes = b"{}", **headers: Any) -> Entry:
    return Entry(body, "application/json", headers=headers, properties={} if user is None else {"user_id": user})


def sender(one: Entry, senders: QueueSenders = AMQP) -> EventSender | str:
    found = senders.of(one, KEYRING.digests)
    return found.reason if isinstance(found, Unreadable) else found


def put_back(one: Entry, senders: QueueSenders = AMQP) -> Entry:
    """The message after it was refused, and put back by an operator."""
    return message_in(content(one, senders))


def content(one: Entry, senders: QueueSenders = AMQP) -> Any:
    return refused_message(one, "why", "events", vouched=senders.vouch(one, KEYRING.digests)).content


def test_a_message_is_its_users_and_without_one_its_queues():
    assert [sender(message(user)) for user in ("app", "app-2", "billing", None, "")] == [
        SIGNUP,
        SIGNUP,
        BILLING,
        CRM,
        CRM,
    ]
    assert sender(message("guest")) == UNKNOWN_USER
    assert sender(message(), senders_of_queue(TABLE, "other", on_amqp=True)) == NO_USER


def test_on_redis_a_user_is_what_any_producer_writes_and_counts_for_nothing():
    senders = senders_of_queue(TABLE, "events", on_amqp=False)
    assert sender(message("app"), senders) == CRM
    assert sender(message("app", **{SENDER: "signup x"}), senders) == CRM
    assert not senders_of_queue(TABLE, "other", on_amqp=False).has_any


def test_without_senders_in_the_configuration_messages_are_our_own():
    senders = senders_of_queue({}, "events", on_amqp=True)
    assert (sender(message("app"), senders), senders.is_open) == (OPERATOR, True)


def test_a_message_that_was_put_back_is_still_its_users():
    for name, owner in (("app", SIGNUP), ("billing", BILLING)):
        again = put_back(message(name))
        assert "user_id" not in again.properties
        assert sender(again) == owner
        assert sender(put_back(again)) == owner  # refused twice
        assert message_id(again) == message_id(message(name))


@pytest.mark.parametrize("name", ["billing", "guest"])
def test_a_message_put_back_never_becomes_its_queues_senders(name: str):
    assert sender(put_back(message(name))) != CRM


def test_nobody_vouches_for_itself():
    proof = put_back(message("billing", b'{"a": 1}')).headers[SENDER]
    digest = proof.partition(" ")[2]
    forged = {
        "another content": message(None, b'{"a": 2}', **{SENDER: proof}),
        "another sender": message(None, b'{"a": 1}', **{SENDER: f"signup {digest}"}),
        "another header": message(None, b'{"a": 1}', **{SENDER: proof, "ce-type": "customer.erased"}),
        "another type": replace(message(None, b'{"a": 1}', **{SENDER: proof}), properties={"type": "customer.erased"}),
        "no digest": message(None, b'{"a": 1}', **{SENDER: "billing"}),
        "no text": message(None, b'{"a": 1}', **{SENDER: 5}),
        "not ASCII": message(None, b'{"a": 1}', **{SENDER: "billing é"}),
        "nothing": message(None, b'{"a": 1}', **{SENDER: ""}),
    }
    assert {what: sender(one) for what, one in forged.items()} == dict.fromkeys(forged, NO_PROOF)
    other_queue = senders_of_queue(TABLE, "requests", on_amqp=True)
    assert sender(message(None, b'{"a": 1}', **{SENDER: proof}), other_queue) == NO_PROOF
    assert sender(message(None, b'{"a": 1}', **{SENDER: proof})) == BILLING


def cloud_event(kind: str, customer_id: str, **more: str) -> bytes:
    data = {"customer_id": customer_id} | ({"locale": "de"} if kind == "customer.updated" else {}) | more
    event = {"specversion": "1.0", "id": f"{kind} {customer_id}", "source": "/x", "type": kind, "data": data}
    return json.dumps(event).encode()


@pytest.fixture
def world(sqlite_url: str, tmp_path: Any) -> Iterator[World]:
    with World(sqlite_url, tmp_path, SetClock()) as made:  # type: ignore[arg-type]
        yield made


def taken(world: World, user: str | None, *bodies: bytes) -> list[tuple[Outcome, str]]:
    """What becomes of messages of this user: their outcomes, and why they were refused."""
    receiver = world.receiver()

    class Stored:
        def receive(self, events: Any) -> Any:
            return receiver.receive(events)

    source = replace(events_of(Bus.model_construct(url="amqp://", plain=None)), senders=AMQP)
    messages = [message(user, body) for body in bodies]
    found = take(Stored(), messages, lambda one: source.event_in(one, KEYRING.digests))  # type: ignore[arg-type]
    refused = Outcome.REFUSED
    return [(one.outcome, one.reason if one.outcome is refused else "") for one in found.receipts]


@pytest.mark.parametrize("kind", ["onboarding.cancelled", "customer.updated", "customer.erased"])
def test_over_the_bus_another_senders_event_changes_nothing_and_ones_own_does(world: World, kind: str):
    taken(world, "app", requested("C-1"))
    before = world.rows(CustomerRow) + world.rows(Job)

    assert taken(world, None, cloud_event(kind, "C-1"), cloud_event(kind, "C-0")) == [(Outcome.TAKEN, "")] * 2
    assert world.rows(CustomerRow) + world.rows(Job) == before
    assert {row.sender for row in world.rows(Inbox, customer_id="C-1")} == {"signup", "crm"}

    taken(world, "app", cloud_event(kind, "C-1"))
    assert world.rows(CustomerRow) + world.rows(Job) != before


def test_over_the_bus_what_a_sender_may_not_do_is_refused_with_the_reason(world: World):
    taken(world, "app", requested("C-1"))
    request = cloud_event("onboarding.requested", "C-1", email="thief@example.net")
    assert taken(world, None, request) == [(Outcome.REFUSED, NOT_ITS_CUSTOMER)]
    assert taken(world, "billing", cloud_event("customer.updated", "C-2")) == [(Outcome.REFUSED, NOT_ITS_TYPE)]
    assert taken(world, "billing", requested("signup-1")) == [(Outcome.REFUSED, NOT_ITS_ID)]
    assert taken(world, "guest", requested("C-3")) == [(Outcome.REFUSED, UNKNOWN_USER)]
    assert len(world.rows(Inbox)) == 1


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_rabbitmq_vouches_for_the_user_and_a_refused_message_keeps_it(broker: Any, inbox: FakeInbox):
    table = {"signup": SenderOfEvents(users=("guest",)), "crm": SenderOfEvents(queues=(broker.bus.queue,))}
    senders = senders_of_queue(table, broker.bus.queue, on_amqp=True)
    source = replace(events_of(broker.bus), senders=senders)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        broker.publish(requested("C-0"), user_id="billing")  # not who is logged in
    broker.publish(requested("C-1", id="1"), user_id="guest")
    broker.publish(requested("C-2", id="2"))
    broker.publish(b'{"customer_id": "C-3"}', user_id="guest", content_type="application/json")
    with consuming(source, inbox):
        wait_until(lambda: inbox.seen == 2 and len(broker.dead()) == 1, "two are taken, one is refused")
    assert [inbox.taken["/signup", one].sender.name for one in ("1", "2")] == ["signup", "crm"]

    assert broker.put_back(inbox, *inbox.refused) == 1
    named = replace(source, read=lambda one: replace(inbox.taken["/signup", "1"], id="3", kind=EventKind.REQUESTED))
    with consuming(named, inbox):
        wait_until(lambda: inbox.seen == 3, "it is taken")
    assert inbox.taken["/signup", "3"].sender.name == "signup"

    broker.publish(requested("C-4", id="4"), headers={SENDER: "signup 0123"})
    with consuming(source, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "a forged name is refused")
    assert broker.dead()[0].headers[REASON] == NO_PROOF


def settings(directory: Any, senders: str, bus: str = '[bus]\nurl = "redis://127.0.0.1:1"\n') -> Any:
    file = directory / "onboarding.toml"
    file.write_text(
        f'[broker]\nurl = "redis://127.0.0.1:1"\n{bus}'
        + '[accounts.kyc]\nprovider = "idenfy-kyc"\napi_key = { env = "A" }\napi_secret = { env = "A" }\n'
        + '[[routes]]\naccounts = ["kyc"]\n'
        + senders
    )
    return load(file, environ={"A": "x", "ONBOARDING_KEY": new_key()})


def test_a_queue_that_no_sender_has_is_not_consumed_and_the_start_warns(tmp_path: Any, caplog: Any):
    found = sources_with_senders(settings(tmp_path, '[web.senders.crm]\nqueues = ["onboarding.requests"]\n'))
    assert [source.topology.queue for source in found] == ["onboarding.requests"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_queues_are_open_as_long_as_there_is_no_sender_and_each_start_warns(tmp_path: Any, caplog: Any):
    found = sources_with_senders(settings(tmp_path, '[import.columns]\n"Kunde" = "customer_id"\n'))
    assert [source.senders.is_open for source in found] == [True, True]
    assert [source.columns for source in found] == [{"Kunde": "customer_id"}] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


@pytest.mark.parametrize(
    ("bus", "declared"),
    [
        ('[bus]\nurl = "redis://127.0.0.1:1"\ndeclare = false\n', {"onboarding.requests": False, "requests": False}),
        ('[bus]\nurl = "redis://127.0.0.1:1"\n', {"onboarding.requests": True, "requests": True}),
        ("", {"requests": True}),
    ],
)
def test_who_declares_nothing_declares_the_queue_of_requests_neither(
    tmp_path: Any, bus: str, declared: dict[str, bool]
):
    found = sources_with_senders(settings(tmp_path, "", bus))
    assert {source.topology.queue: source.declare for source in found} == declared
