"""Events are published by `run`, by workers and beat, and again by hand; a target that fails delays no other."""

import json
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from kombu import Connection

from tests.cli.installation.test_postgresql import over
from tests.desk.desk import Desk, customers
from tests.desk.listener import Handler, Listener
from tests.desk.own_redis import OwnRedis
from tests.features.outbox.test_subscriber import hang
from tests.runtime.test_up import ended, started
from tests.suite.of_features import needs
from tests.suite.some import some
from tests.suite.waiting import wait_until

SUBSCRIBER = '[subscribers.crm]\nurl = "{url}"\nkeys = [{{ file = "secrets/events" }}]\n'


class Answers:
    """A subscriber whose status can be changed."""

    def __init__(self, status: int = 200) -> None:
        self.status = status

    async def __call__(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=self.status)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def crm(answers: Handler) -> Iterator[Listener]:
    listener = Listener(answers)
    yield listener
    listener.close()


@pytest.fixture
def publishing_desk(desk: Desk, crm: Listener) -> Desk:
    """A desk whose configuration has a subscriber."""
    desk.secret("events", "s3cret-key-of-events")
    desk.add(SUBSCRIBER.format(url=crm.url))
    return desk


def kinds(crm: Listener) -> Counter[str]:
    return Counter(json.loads(body)["type"] for _, body in crm.got)


def test_run_publishes_to_a_subscriber_before_it_ends(publishing_desk: Desk, crm: Listener):
    ended = publishing_desk.run_process("run", publishing_desk.list_of(customers(4)), "--json", "--log-level", "debug")
    assert ended.code == 0
    assert kinds(crm) == {"session.issued": 4, "invitation.sent": 4}
    assert len({headers["webhook-id"] for headers, _ in crm.got}) == 8
    assert "events wait" not in ended.err
    told = "".join(body.decode() for _, body in crm.got)
    assert not any(
        word in told + ended.err for word in ("box1@", "Quirin", "Ostrander", "s3cret-key-of-events", crm.url)
    )


def test_run_ends_though_no_target_accepts_its_events_and_the_next_run_publishes_them(
    publishing_desk: Desk, crm: Listener, answers: Answers
):
    answers.status = 500
    listed = publishing_desk.list_of(customers(2))
    ended = publishing_desk.onboard("run", listed)
    assert ended.code == 0
    assert "4 outgoing events not delivered yet" in ended.err
    (target,) = publishing_desk.onboard("events", "outgoing", "list", "--json").facts["targets"]
    assert (target["target"], target["waiting"], target["given_up"]) == ("subscriber/crm", 4, 0)
    answers.status = 200
    crm.got.clear()

    def told() -> bool:  # the pause after the failures is a fraction of a second here
        return "events wait" not in publishing_desk.onboard("run", listed).err

    wait_until(told, "the next run tells it")
    assert kinds(crm) == {"session.issued": 2, "invitation.sent": 2}


@needs("doctor")
def test_a_target_that_accepts_nothing_is_in_the_status_and_in_doctors_list(publishing_desk: Desk, answers: Answers):
    answers.status = 500
    listed = publishing_desk.list_of(customers(2))

    def has_failed_often() -> bool:  # a run ends with its rows, after as many failures as there was time for
        publishing_desk.onboard("run", listed)
        (target,) = publishing_desk.onboard("events", "outgoing", "list", "--json").facts["targets"]
        return target["pause_reason"] is not None

    wait_until(has_failed_often, "the target is paused")
    publishing_desk.sql("UPDATE budget SET opened_at = '2026-01-01 00:00:00' WHERE name = 'subscriber/crm'")
    publishing_desk.sql("UPDATE outbox SET due_at = NULL WHERE id = (SELECT max(id) FROM outbox)")
    shown, facts = publishing_desk.onboard("status").out, publishing_desk.onboard("status", "--json").facts
    (need,) = facts["needs_a_person"]
    assert (need["what"], need["name"], need["command"]) == ("target", "subscriber/crm", "onboard events outgoing list")
    assert need["reason"].startswith("has accepted no event since 2026-01-01T00:00:00Z (")
    assert need["reason"].endswith("the last with HTTP 500); events that wait: 3; given up: 1")
    assert f"needs a person: subscriber/crm: {need['reason']}; `onboard events outgoing list`\n" in shown
    assert facts["given_up"] == {"subscriber/crm": 1}
    assert publishing_desk.onboard("status", "--check").out.startswith("WARNING: subscriber/crm: has accepted no event")
    found = [one for one in publishing_desk.onboard("doctor", "--json").facts["findings"] if one["what"] == "attention"]
    assert [(one["grade"], one["action"]) for one in found] == [("warning", "`onboard events outgoing list`")]
    assert found[0]["found"] == f"subscriber/crm: {need['reason']}"


def test_given_up_events_are_listed_and_published_again_by_hand(publishing_desk: Desk, crm: Listener, answers: Answers):
    answers.status = 410
    listed = publishing_desk.list_of(customers(1))
    assert publishing_desk.onboard("run", listed).code == 0
    facts = publishing_desk.onboard("events", "outgoing", "list", "--json").facts
    assert [(item["kind"], item["customer_id"]) for item in facts["given_up"]] == [
        ("invitation.sent", "C-0000"),
        ("session.issued", "C-0000"),
    ]
    shown = publishing_desk.onboard("events", "outgoing", "list").out
    assert "HTTP 410" in shown
    answers.status = 200
    crm.got.clear()
    number = facts["given_up"][0]["number"]
    retry = ("events", "outgoing", "retry")
    assert publishing_desk.onboard(*retry, "--number", str(number), "--json").facts == {"events": 1}
    assert publishing_desk.onboard(*retry, "subscriber/crm").out == "1 event will be published again\n"
    assert publishing_desk.onboard("run", listed).code == 0
    assert kinds(crm) == {"session.issued": 1, "invitation.sent": 1}
    assert "nothing waits" in publishing_desk.onboard("events", "outgoing", "list").out


def test_retrying_names_the_targets_that_there_are(publishing_desk: Desk):
    ended = publishing_desk.onboard("events", "outgoing", "retry", "crm")
    assert ended.code == 2
    assert "subscriber/crm" in ended.err


def test_a_bus_that_is_no_bus_stops_the_start(desk: Desk):
    desk.add('[bus]\nurl = "memory://"\n')
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    assert "bus.url" in ended.err


@pytest.fixture
def exchange(amqp_url: str) -> Iterator[tuple[str, Any, str]]:
    """An exchange of the test's own with a queue that gets everything: its name, a channel, and the queue's name."""
    name = f"outbox-test-{uuid.uuid4().hex[:12]}"
    with Connection(amqp_url) as connection:
        channel: Any = connection.channel()
        channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
        queue, _, _ = channel.queue_declare(durable=False, exclusive=True)
        channel.queue_bind(queue, name, "#")
        yield name, channel, queue
        channel.exchange_delete(name)


def test_a_worker_tells_a_bus_though_a_subscriber_hangs(
    desk: Desk,
    own_redis: OwnRedis,
    empty_postgresql_url: str,
    exchange: tuple[str, Any, str],
    amqp_url: str,
    crm: Listener,
):
    name, channel, queue = exchange
    crm._answer = hang
    for secret, value in (("database", empty_postgresql_url), ("broker", own_redis.url), ("bus", amqp_url)):
        desk.secret(secret, value)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.secret("events", "s3cret-key-of-events")
    desk.add('[broker]\nurl = { file = "secrets/broker" }\n')
    desk.add(f'[bus]\nurl = {{ file = "secrets/bus" }}\nexchange = "{name}"\n')
    desk.add(SUBSCRIBER.format(url=crm.url))
    processes = [desk.start("worker"), desk.start("beat")]  # test_outbox_locks has several that publish
    assert desk.onboard("import", desk.list_of(customers(6))).code == 0
    got: list[Any] = []

    def all_are_told() -> bool:
        assert [process.poll() for process in processes] == [None] * len(processes)
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            got.append(json.loads(message.body))
        return len(got) >= 12

    wait_until(all_are_told, "the bus has every event")
    assert Counter(event["type"] for event in got) == {"session.issued": 6, "invitation.sent": 6}
    assert len({event["id"] for event in got}) == 12
    for customer in some({event["subject"] for event in got}):
        assert [event["type"] for event in got if event["subject"] == customer] == ["session.issued", "invitation.sent"]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        ended = desk.end(process)
        assert ended.code == 0
        assert not any(word in ended.err for word in ("box1@", "Quirin", "s3cret-key-of-events", crm.url))
    targets = desk.onboard("events", "outgoing", "list", "--json").facts["targets"]
    waiting = {item["target"]: item["waiting"] for item in targets}
    assert waiting == {"bus": 0, "subscriber/crm": 12}


@pytest.fixture
def pg(desk: Desk, empty_postgresql_url: str) -> Desk:
    return over(desk, empty_postgresql_url)


def test_up_publishes_to_a_subscriber(publishing_desk: Desk, crm: Listener):
    process, _ = started(publishing_desk)
    assert publishing_desk.onboard("import", publishing_desk.list_of(customers(2))).code == 0
    wait_until(lambda: kinds(crm) == {"session.issued": 2, "invitation.sent": 2}, "all is published")
    ended(process)


def test_status_warns_of_events_that_no_process_publishes(pg: Desk, empty_postgresql_url: str):
    pg.secret("events", "s3cret-key-of-events")
    pg.add('[subscribers.crm]\nurl = "http://127.0.0.1:1"\nkeys = [{ file = "secrets/events" }]\n')
    assert pg.onboard("run", pg.list_of(customers(1))).code == 0
    assert "no process publishes" not in pg.onboard("status").err  # it has only just happened
    engine = sa.create_engine(empty_postgresql_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE outbox SET due_at = due_at - interval '1 hour'"))
        connection.execute(sa.text("UPDATE budget SET blocked_until = NULL"))
    engine.dispose()
    for more in ([], ["--json"]):
        ended = pg.onboard("status", *more)
        assert ended.code == 0
        assert "warning: subscriber/crm: events have waited for more than 5 minutes" in ended.err
