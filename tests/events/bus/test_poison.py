"""Any bad message is refused and kept as it came, and the messages behind it are taken."""

import json
import zlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from onboarding_worker.events.brokers import connection as brokers
from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, REASON
from onboarding_worker.events.bus.links import TAKEN_SECONDS
from onboarding_worker.events.bus.messages import LARGEST_ENVELOPE, opened
from onboarding_worker.events.bus.sources import GROUP, NEVER_SETTLED, events_of
from onboarding_worker.events.cloudevents import LARGEST
from tests.events.bus.brokers import requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import wait_until

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


def test_bodies_that_are_no_events_are_refused_and_stop_nothing(broker: Any, inbox: FakeInbox):
    for what, body in BODIES.items():
        broker.publish(body, requested(id=f"good, behind {what}"))
    with consuming(broker.bus, inbox):
        wait_until(
            lambda: inbox.seen == len(broker.dead()) == len(BODIES), "each is refused, what is behind it is taken"
        )
    reasons = {UUID(notice.headers[NOTICE_ID]): notice.headers[REASON] for notice in broker.dead()}
    assert reasons == {id_: dead.reason for id_, dead in inbox.refused.items()}
    assert "" not in reasons.values()
    sizes = {inbox.message(id_).body if dead.content else "too large": dead.size for id_, dead in inbox.refused.items()}
    assert sizes == {what if what == "too large" else body: len(body) for what, body in BODIES.items()}
    assert broker.waiting() == 0


OTHER_TYPES = (
    "application/octet-stream",
    "application/x-python-serialize",
    "application/x-yaml",
    "application/cloudevents-batch+json",
    "text/plain; charset=utf-16",
)


def test_other_content_types_are_refused_unread(broker: Any, inbox: FakeInbox):
    for number, content_type in enumerate(OTHER_TYPES):
        broker.publish(requested(id=str(number)), content_type=content_type)
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == len(OTHER_TYPES), "each is refused")
    assert sorted(inbox.message(id_).content_type for id_ in inbox.refused) == sorted(OTHER_TYPES)
    assert (inbox.chunks, inbox.taken) == ([], {})  # it was asked to keep them, and nothing else


def test_large_entries_of_a_stream_come_a_few_at_once(
    redis_url: str, make_broker: Any, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(brokers, "BYTES_AT_ONCE", 250_000)
    broker = make_broker(redis_url)
    broker.publish(*(requested(id=str(number), padding="x" * 75_000) for number in range(12)))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 12, "all are taken")
    assert max(inbox.chunks) <= 10
    assert broker.dead() == []


def test_a_compressed_body_is_not_decompressed(broker: Any, inbox: FakeInbox):
    bomb = zlib.compress(b"0" * 50_000_000, 9)
    broker.publish(bomb, content_type="application/json", headers={"compression": "application/x-gzip"})
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    ((id_, dead),) = inbox.refused.items()
    assert inbox.message(id_).body == bomb
    assert "compressed" in dead.reason


ODD: list[dict[str, Any]] = [
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
]


def test_odd_properties_of_amqp_stop_nothing(amqp_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker(amqp_url)
    for number, properties in enumerate(ODD):
        broker.publish(b"{%d}" % number, **properties)
        broker.publish(requested(id=f"good {number}"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == len(broker.dead()) == len(ODD), "each is refused, what is behind it is taken")
    assert {inbox.message(id_).body for id_ in inbox.refused} == {b"{%d}" % number for number in range(len(ODD))}
    assert broker.waiting() == 0


def test_an_entry_without_an_event_ends_in_the_dead_queue_as_it_was(redis_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker(redis_url)
    broker.add({b"\x00\xff": bytes(range(256)), "customer_id": "C-1"})
    broker.publish(requested(id="good"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 1 and len(broker.dead()) == 1, "one is taken and one refused")
    ((id_, dead),) = inbox.refused.items()
    kept = json.loads(inbox.message(id_).body)
    assert kept["customer_id"] == "C-1"
    assert dead.reason == "the entry has no field `event`"
    assert (broker.waiting(), broker.held()) == (0, 0)


@pytest.mark.parametrize("field", ["event", "envelope"])
def test_a_large_entry_is_refused_without_its_content(redis_url: str, make_broker: Any, inbox: FakeInbox, field: str):
    broker = make_broker(redis_url)
    broker.add({field: b"x" * (LARGEST_ENVELOPE + 1)})
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    (dead,) = inbox.refused.values()
    assert (dead.content, dead.size) == (None, LARGEST_ENVELOPE + 1)


ENVELOPES = {
    "anything": b"customer_id=C-1",
    "bytes": bytes(range(256)),
    "an empty object": b"{}",
    "no text": b'{"body": 5, "properties": {}}',
    "odd properties": b'{"body": "", "properties": [], "headers": 7}',
    "no base64": json.dumps({"body": "=é=", "properties": {"body_encoding": "base64"}}).encode(),
    "another encoding": json.dumps({"body": "x", "properties": {"body_encoding": "rot13"}}).encode(),
    "deep": b'{"body": "", "properties": ' + b"[" * 100_000,
    "large": b"x" * (LARGEST_ENVELOPE + 1),
}


def test_what_is_no_envelope_is_known_and_stays_as_it_was(subtests: pytest.Subtests):
    for what in ENVELOPES:
        with subtests.test(what=what):
            entry = opened(ENVELOPES[what])
            assert "entry" in entry.broken or "envelope" in entry.broken
            assert entry.body == ENVELOPES[what]


@pytest.mark.parametrize(("times", "refused"), [(20, False), (21, True)])
def test_an_entry_that_no_consumer_ever_settled_is_refused(
    redis_url: str, make_broker: Any, inbox: FakeInbox, times: int, refused: bool
):
    broker = make_broker(redis_url)
    broker.publish(requested("C-9"))
    with broker.client() as client:
        ((_, ((id_, _),)),) = client.xreadgroup(GROUP, "gone", {broker.bus.queue: ">"})
        client.xclaim(broker.bus.queue, GROUP, "gone", 0, [id_], idle=1000 * int(TAKEN_SECONDS), retrycount=times)
    with consuming(broker.bus, inbox):
        wait_until(lambda: bool(inbox.refused or inbox.taken), "it is settled")
        wait_until(lambda: broker.waiting() == 0, "nothing is left")
    assert [one.reason for one in inbox.refused.values()] == (
        ["it was taken 21 times and never settled"] if refused else []
    )
    assert inbox.customers == ([] if refused else ["C-9"])


def test_what_ends_consumers_counts_alone(redis_url: str, make_broker: Any, inbox: FakeInbox):
    """A consumer that is gone held good events too: each is claimed alone."""
    broker = make_broker(redis_url)
    broker.publish(*(requested(id=str(number)) for number in range(5)))
    with broker.client() as client:
        client.xreadgroup(GROUP, "gone", {broker.bus.queue: ">"})
        ids = [one["message_id"] for one in client.xpending_range(broker.bus.queue, GROUP, "-", "+", 10)]
        client.xclaim(broker.bus.queue, GROUP, "gone", 0, ids, idle=1000 * int(TAKEN_SECONDS), justid=True)
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.seen == 5, "all are taken")
    assert inbox.chunks == [1] * 5


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
