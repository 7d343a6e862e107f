"""`onboard bus` from the outside: a message in, a job in the database, and a dead queue for what is no event."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, refused_message
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from tests.desk.desk import Desk
from tests.desk.own_redis import OwnRedis
from tests.events.bus.brokers import a_bus, broker_of, requested
from tests.suite.waiting import wait_until


@pytest.fixture(params=["amqp", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[Any]:
    broker = broker_of(a_bus(str(request.getfixturevalue(f"{request.param}_url"))))
    yield broker
    broker.clean()


@pytest.fixture
def office(desk: Desk, broker: Any, empty_postgresql_url: str) -> Desk:
    """The workers' broker cannot be reached: the wake-ups are lost, and the events are stored all the same."""
    desk.secret("database", empty_postgresql_url)
    desk.secret("bus", broker.bus.url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    desk.add(f'[bus]\nurl = {{ file = "secrets/bus" }}\nqueue = "{broker.bus.queue}"\n')
    return desk


def rows(office: Desk) -> int:
    return sum(int(batch["rows"]["total"]) for batch in office.onboard("status", "--json").facts["batches"])


def test_events_become_jobs_and_refused_events_can_be_read_and_put_back(office: Desk, broker: Any):
    bus = office.start("bus", "--log-file", "bus.log")
    log = office.path / "bus.log"
    wait_until(lambda: log.exists() and "takes events from the queue" in log.read_text(), "it takes events")
    broker.publish(requested("C-1", id="1"), requested("C-2", id="2"), requested("C-1", id="1"))
    broker.publish(b'{"customer_id": "C-3", "email": "quirin@example.com"}', content_type="application/json")
    broker.publish(requested("quirin@example.com", id="4"))
    wait_until(lambda: len(broker.dead()) == 2, "two are refused")
    wait_until(lambda: rows(office) == 2, "two are jobs")

    listed = office.onboard("events", "dead", "list", "--json").facts
    assert (listed["total"], listed["queues"]) == (2, {f"{broker.bus.queue}.dead": 2})
    assert {event["content"] for event in listed["events"]} == {"kept"}
    assert all(event["kept_until"] > event["refused_at"] for event in listed["events"])
    assert sorted(notice.headers[NOTICE_ID] for notice in broker.dead()) == sorted(
        event["id"] for event in listed["events"]
    )
    untyped, unfit = sorted(listed["events"], key=lambda event: event["type"])
    assert "type is missing: neither" in untyped["reason"]
    assert "customer_id" in unfit["problems"]
    facts = office.onboard("events", "dead", "show", untyped["id"], "--json").facts
    assert facts["body"] == {"customer_id": "a text of 3", "email": "a text of 18"}
    assert untyped["id"] in office.onboard("events", "dead", "list").out
    put_back = office.onboard("events", "dead", "requeue", untyped["id"], "--json").facts
    assert (put_back["requeued"], put_back["queues"]) == (1, {f"{broker.bus.queue}.dead": 1})
    wait_until(
        lambda: (
            {event["id"] for event in office.onboard("events", "dead", "list", "--json").facts["events"]}
            == {untyped["id"], unfit["id"]}
        ),
        "it was refused again, under the same id",
    )
    taken = office.audited("onboarding.requested")
    assert [(one["actor"], one["subject"]) for one in taken] == [
        (f"queue {broker.bus.queue}", f"customer C-{number}") for number in (1, 2)
    ]
    (entry,) = office.audited("events dead requeue")
    assert (entry["subject"], entry["count"]) == (f"dead event {untyped['id']}", 1)
    nobody = "00000000-0000-0000-0000-000000000000"
    assert nobody in office.onboard("events", "dead", "requeue", nobody).err
    assert office.onboard("events", "dead", "show", nobody).code == 2
    assert office.end(bus, signal.SIGTERM).code == 0
    assert "quirin" not in log.read_text() + json.dumps(listed) + json.dumps(facts)
    assert rows(office) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "the bus needs postgresql+psycopg"),
        ('[bus]\nurl = "memory://"\n', "no other process can reach memory://"),
        ('[bus]\nurl = "redis://127.0.0.1:1/0"\n', "the bus needs postgresql+psycopg"),
    ],
)
def test_what_cannot_work_ends_with_the_reason(desk: Desk, change: str, said: str):
    desk.add(change)
    ended = desk.onboard("bus")
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("broker", ["amqp"], indirect=True)
def test_queues_that_are_only_to_be_there_and_are_not_end_the_start(office: Desk, broker: Any):
    office.environ["ONBOARDING__BUS__DECLARE"] = "false"
    ended = office.run_process("bus")
    assert ended.code == 2
    assert f"the queue {broker.bus.queue}.dead" in ended.err


def refused(desk: Desk, queue: str = "onboarding.requests", **more: Any) -> str:
    """A refused message in the desk's database; returns its id."""
    desk.onboard("status")
    message = refused_message(Entry(b'{"customer_id": "C-9"}', "application/json"), "why", queue)
    with closing(Parts(load(desk.config, environ=desk.environ))) as parts:
        (id_,) = parts.refused_events.keep([replace(message, **more)], now=parts.clock())
    return str(id_)


def test_a_broker_that_cannot_be_reached_is_named_when_an_event_is_to_be_put_back(desk: Desk):
    desk.add('[bus]\nurl = "redis://127.0.0.1:1/0"\n')
    id_ = refused(desk)
    assert desk.onboard("events", "dead", "list").code == 0
    ended = desk.onboard("events", "dead", "requeue", id_)
    assert ended.code == 2
    assert "check bus.url" in ended.err
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    assert "check broker.url" in desk.onboard("events", "dead", "requeue", id_).err
    assert desk.onboard("events", "dead", "list", "--json").facts["total"] == 1


def test_where_no_queue_is_configured_nothing_can_be_put_back_and_the_command_says_why(desk: Desk):
    assert "there is no refused event" in desk.onboard("events", "dead", "list").out
    ended = desk.onboard("events", "dead", "requeue", refused(desk))
    assert ended.code == 2
    assert "neither [bus]" in ended.err


def test_an_event_of_a_queue_that_is_not_configured_any_more_stays(desk: Desk, own_redis: OwnRedis):
    desk.secret("bus", own_redis.url)
    desk.add('[bus]\nurl = { file = "secrets/bus" }\n')
    refused(desk, queue="renamed")
    ended = desk.onboard("events", "dead", "requeue", "--all", "--yes")
    assert ended.code == 2  # as `events webhooks done` without a listed webhook
    assert "renamed.dead: nothing was put back: this configuration does not name its queue" in ended.err
    assert desk.onboard("events", "dead", "list", "--json").facts["total"] == 1
    refused(desk, identity="another")
    ended = desk.onboard("events", "dead", "requeue", "--all", "--yes", "--json")
    assert (ended.code, ended.facts["requeued"], ended.facts["unreachable"]) == (1, 1, ["renamed.dead"])


def test_an_event_that_was_too_large_cannot_be_put_back_and_the_commands_say_so(desk: Desk, own_redis: OwnRedis):
    desk.secret("bus", own_redis.url)
    desk.add('[bus]\nurl = { file = "secrets/bus" }\n')
    id_ = refused(desk, content=None, size=300_000)
    assert "too large" in desk.onboard("events", "dead", "list").out
    assert desk.onboard("events", "dead", "show", id_, "--json").facts["size"] == 300_000
    ended = desk.onboard("events", "dead", "requeue", id_)
    assert (ended.code, "too large" in ended.err) == (2, True)
    assert (
        "1 event without content: the sender must send it again"
        in desk.onboard("events", "dead", "requeue", "--all", "--yes").out
    )


def test_refused_events_need_a_person_and_are_removed_for_good_without_a_broker(desk: Desk):
    one, _other = refused(desk), refused(desk, identity="another")
    (need,) = desk.onboard("status", "--json").facts["needs_a_person"]
    assert (need["what"], need["name"], need["command"]) == ("queue", "onboarding.requests", "onboard events dead list")
    assert need["reason"].startswith("2 refused events wait")
    assert desk.onboard("events", "dead", "drop").code == 2
    assert desk.onboard("events", "dead", "drop", one, "--yes", "--json").facts == {"dropped": 1}
    assert one in desk.onboard("events", "dead", "drop", one, "--yes").err
    dropped = desk.onboard("events", "dead", "drop", "--all", "--yes").out
    assert dropped == "1 event was removed; the notices stay in the dead queue (docs/reference/bus.md)\n"
    assert desk.onboard("events", "dead", "list", "--json").facts["total"] == 0
    entries = desk.audited("events dead drop")
    said = [(entry["subject"], entry["count"], entry["reason"]) for entry in entries]
    assert sorted(said) == [(f"dead event {one}", 1, "dropped"), ("dead events", 1, "dropped")]
