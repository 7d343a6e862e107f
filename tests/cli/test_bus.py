"""`onboard bus` from the outside: a message in, a job in the database, and a dead queue for what is no event."""

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.desk.desk import Desk, wait_until
from tests.inbound.bus.brokers import Redis, a_bus, broker_of, requested
from worker.inbound.bus.redis_entry import Entry, enveloped


@pytest.fixture(params=["amqp", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[Any]:
    broker = broker_of(a_bus(str(request.getfixturevalue(f"{request.param}_url"))))
    yield broker
    broker.clean()


@pytest.fixture
def office(desk: Desk, broker: Any, make_postgresql: Callable[[], str]) -> Desk:
    """The workers' broker cannot be reached: the wake-ups are lost, and the events are stored all the same."""
    desk.secret("database", make_postgresql())
    desk.secret("bus", broker.bus.url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    names = f'queue = "{broker.bus.queue}"\nsource_exchange = "{broker.bus.source_exchange}"\n'
    desk.add(f'[broker]\nurl = "redis://127.0.0.1:1/0"\n[bus]\nurl = {{ file = "secrets/bus" }}\n{names}')
    assert desk.onboard("db", "upgrade").code == 0
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

    ended = office.onboard("bus", "dead", "list", "--json")
    listed = ended.facts
    assert (listed["total"], listed["queues"]) == (2, {f"{broker.bus.queue}.dead": 2})
    # The workers' broker cannot be reached: its queue was not read, and the command reports that.
    assert (ended.code, listed["unreachable"]) == (1, ["requests.dead"])
    assert "requests.dead was not read" in ended.err
    assert "check broker.url" in ended.err
    untyped, unfit = sorted(listed["events"], key=lambda event: event["type"])
    assert "type is missing: neither" in untyped["reason"]
    assert "customer_id" in unfit["problems"]
    facts = office.onboard("bus", "dead", "show", untyped["id"], "--json").facts
    assert facts["body"] == {"customer_id": "a text of 3", "email": "a text of 18"}
    assert untyped["id"] in office.onboard("bus", "dead", "list").out
    put_back = office.onboard("bus", "dead", "requeue", untyped["id"], "--json").facts
    assert (put_back["requeued"], put_back["queues"]) == (1, {f"{broker.bus.queue}.dead": 1})
    taken = office.onboard("audit", "--action", "onboarding.requested", "--json").facts["entries"]
    assert [(one["actor"], one["subject"]) for one in taken] == [
        (f"queue {broker.bus.queue}", f"customer C-{number}") for number in (1, 2)
    ]
    (entry,) = office.onboard("audit", "--action", "bus dead requeue", "--json").facts["entries"]
    assert (entry["subject"], entry["count"]) == (f"dead event {untyped['id']}", 1)
    assert office.onboard("bus", "dead", "requeue", "0000000000000000").code == 2
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


def test_a_broker_that_cannot_be_reached_is_named_when_its_queue_is_read(desk: Desk):
    desk.add('[bus]\nurl = "redis://127.0.0.1:1/0"\n')
    ended = desk.onboard("bus", "dead", "list")
    assert ended.code == 2
    assert "check bus.url" in ended.err
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    assert "check broker.url" in desk.onboard("bus", "dead", "list").err


def test_where_nothing_can_have_been_refused_the_commands_say_why(desk: Desk):
    ended = desk.onboard("bus", "dead", "list")
    assert ended.code == 2
    assert "neither [bus]" in ended.err


def test_the_page_shows_an_envelope_that_is_accepted(redis_url: str, request: pytest.FixtureRequest):
    page = (request.config.rootpath / "docs/bus.md").read_text("utf-8")
    source = page.split("```python\n")[2].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(source, "docs/bus.md", "exec"), names)  # noqa: S102 -- our own page
    broker: Redis = broker_of(a_bus(redis_url))
    try:
        with broker.client() as client:
            names["publish"](client, broker.bus.queue, {"id": "1"})
            (entry,) = client.lrange(broker.bus.queue, 0, -1)
    finally:
        broker.clean()
    ours = json.loads(enveloped(Entry(b'{"id": "1"}', "application/cloudevents+json", "utf-8"), broker.bus.queue, "t"))
    theirs = json.loads(entry)
    assert {**theirs, "properties": 0} == {**ours, "properties": 0}
    assert theirs["properties"].keys() <= ours["properties"].keys()
