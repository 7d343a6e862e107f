"""Any bad message is refused and kept as it came, and the messages behind it are taken."""

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest

from tests.inbound.bus.brokers import envelope, requested
from tests.inbound.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import wait_until
from worker.brokers import undecoded
from worker.domain.events.cloudevents import LARGEST
from worker.inbound.bus.dead_lettering import REASON
from worker.inbound.bus.redis_entry import LARGEST_ENTRY
from worker.inbound.bus.sources import NEVER_SETTLED, events_of

TWICE = b'{"specversion": "1.0", "specversion": "1.0", "data": {}}'
NAN = requested().replace(b'"C-1"', b"NaN", 1)
DEEP = b'{"specversion": "1.0", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe\x00",
    "no JSON": b"customer_id=C-1",
    "a list": b"[1, 2]",
    "no type": b'{"customer_id": "C-1"}',
    "a key twice": TWICE,
    "NaN": NAN,
    "deep": DEEP,
    "a NUL": requested("C\x00"),
    "half a surrogate pair": requested("C").replace(b'"C"', rb'"\ud800"'),
    "too large": b'{"specversion": "1.0", "data": "' + b"x" * LARGEST + b'"}',
    "another type": requested().replace(b"onboarding.requested", b"order.placed"),
    "no id": requested().replace(b'"id": "1", ', b""),
}


@pytest.mark.parametrize("what", list(BODIES))
def test_a_body_that_is_no_event_is_refused_and_stops_nothing(broker: Any, inbox: FakeInbox, what: str):
    broker.publish(BODIES[what], requested(id="good"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1 and len(broker.dead()) == 1, "one is taken and one refused")
    ((id_, dead),) = inbox.refused.items()
    assert dead.reason == broker.dead()[0].headers[REASON] != ""
    assert dead.size == len(BODIES[what])
    assert dead.content is None if what == "too large" else inbox.message(id_).body == BODIES[what]
    assert broker.waiting() == 0


@pytest.mark.parametrize(
    ("content_type", "properties"),
    [
        ("application/octet-stream", {}),
        ("application/x-python-serialize", {}),
        ("application/x-yaml", {}),
        ("application/cloudevents-batch+json", {}),
        ("text/plain; charset=utf-16", {}),
    ],
)
def test_another_content_type_is_refused_unread(
    broker: Any, inbox: FakeInbox, content_type: str, properties: dict[str, Any]
):
    broker.publish(requested(), content_type=content_type)
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    (id_,) = inbox.refused
    assert inbox.message(id_).content_type == content_type
    assert inbox.tries == 1  # to keep it


def test_large_entries_of_a_list_come_a_few_at_once(
    redis_url: str, make_broker: Any, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(undecoded, "BYTES_AT_ONCE", 250_000)
    broker = make_broker(redis_url)
    broker.publish(*(requested(id=str(number), padding="x" * 75_000) for number in range(12)))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 12, "all are taken")
    assert max(inbox.chunks) <= 6
    assert broker.dead() == []


def test_a_compressed_body_is_not_decompressed(broker: Any, inbox: FakeInbox):
    bomb = zlib.compress(b"0" * 50_000_000, 9)
    broker.publish(bomb, content_type="application/json", headers={"compression": "application/x-gzip"})
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    ((id_, dead),) = inbox.refused.items()
    assert inbox.message(id_).body == bomb
    assert "compressed" in dead.reason


@pytest.mark.parametrize(
    "properties",
    [
        {"timestamp": 2**63 - 1},
        {"timestamp": 2**64 - 1},
        {"content_encoding": "gzip"},
        {"content_encoding": "no such thing"},
        {"content_encoding": "punycode"},
        {"headers": {"CC": ["somebody.elses.queue"], "BCC": ["another"]}},
        {"headers": {"x-death": "none", "x-delivery-count": "often", "x-reason": 7}},
        {"headers": {"deep": {"er": {"and": [{"er": [1, None, True, -(2**62), b"\xff"]}]}}}},
        {"headers": {"a" * 200: "b" * 10_000}},
        {"headers": {"cloudEvents:id": "1", "cloudEvents:type": 5, "cloudEvents:specversion": None}},
        {"expiration": "600000", "priority": 9, "reply_to": "x", "message_id": "m" * 255, "user_id": "guest"},
    ],
)
def test_odd_properties_of_amqp_stop_nothing(amqp_url: str, make_broker: Any, inbox: FakeInbox, properties: Any):
    broker = make_broker(amqp_url)
    broker.publish(b"{}", **properties)
    broker.publish(requested(id="good"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1 and len(broker.dead()) == 1, "one is taken and one refused")
    (id_,) = inbox.refused
    assert inbox.message(id_).body == b"{}"
    assert broker.waiting() == 0


RAW = {
    "anything": b"customer_id=C-1",
    "bytes": bytes(range(256)),
    "a CloudEvent": requested(),
    "a colon first": b":" * 20,
    "an empty object": b"{}",
    "no text": b'{"body": 5, "properties": {}}',
    "odd properties": b'{"body": "", "properties": [], "headers": 7}',
    "no base64": json.dumps({"body": "=é=", "properties": {"body_encoding": "base64"}}).encode(),
    "another encoding": json.dumps({"body": "x", "properties": {"body_encoding": "rot13"}}).encode(),
    "deep": b'{"body": "", "properties": ' + b"[" * 100_000,
    "large": b"x" * (LARGEST_ENTRY + 1),
}


@pytest.mark.parametrize("what", list(RAW))
def test_an_entry_that_is_no_envelope_ends_in_the_dead_queue_as_it_was(
    redis_url: str, make_broker: Any, inbox: FakeInbox, what: str
):
    broker = make_broker(redis_url)
    broker.push(RAW[what], envelope(requested(id="good")))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1 and len(broker.dead()) == 1, "one is taken and one refused")
    ((id_, dead),) = inbox.refused.items()
    assert dead.content is None if what == "large" else inbox.message(id_).body == RAW[what]
    assert "entry" in dead.reason or "envelope" in dead.reason
    assert (broker.waiting(), broker.held()) == (0, 0)


def test_an_entry_that_no_consumer_ever_settled_is_refused(redis_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker(redis_url)
    with broker.client() as client:
        client.rpush(f"{broker.bus.queue}.returned", f"20:{envelope(requested(id='often'))}")
        client.rpush(f"{broker.bus.queue}.returned", f"21:{envelope(requested(id='too often'))}")
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
        wait_until(lambda: inbox.seen == 1, "the good one is taken")
    assert [event.id for event in inbox.taken.values()] == ["often"]
    assert broker.dead()[0].headers[REASON] == "it was taken 21 times and never settled"


@pytest.mark.parametrize("odd", ["nocolon", ":", "x:y", "99999999999999999999:z", "-1:z", "\x00\xff"])
def test_what_another_program_writes_among_the_returned_entries_stops_no_event(
    redis_url: str, make_broker: Any, inbox: FakeInbox, odd: str
):
    broker = make_broker(redis_url)
    with broker.client() as client:
        client.rpush(f"{broker.bus.queue}.returned", odd)
        client.hset(f"{broker.bus.queue}.taken", "someone", odd)  # as after a consumer that is gone
        client.zadd(f"{broker.bus.queue}.taken.since", {"someone": 1.0})
    broker.publish(requested("C-9"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1, "the good one is taken")
        wait_until(lambda: len(broker.dead()) == 2, "the others are refused")
    assert (broker.waiting(), broker.held()) == (0, 0)


def test_what_kills_consumers_again_and_again_is_kept_unread(amqp_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker(amqp_url)
    broker.publish(requested("C-9"))

    def handed_out_and_lost() -> bool:
        with broker.channel() as channel:
            method, _properties, _body = channel.basic_get(broker.bus.queue)
            moved = channel.queue_declare(f"{broker.bus.queue}.undelivered", passive=True).method.message_count
        return method is None and moved == 1

    wait_until(handed_out_and_lost, "the broker has counted it out")
    with consuming(replace(events_of(broker.bus), undelivered=True), inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    ((id_, dead),) = inbox.refused.items()
    assert (dead.queue, dead.reason, inbox.taken) == (broker.bus.queue, NEVER_SETTLED, {})
    assert dead.customer_id == "C-9"
    assert inbox.message(id_).body == requested("C-9")
    assert not {"x-death", "x-first-death-queue"} & inbox.message(id_).headers.keys()
    assert broker.put_back(inbox, id_) == 1
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.customers == ["C-9"], "it is taken when it is put back")
