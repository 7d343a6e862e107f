"""Requests that other projects send as Celery tasks: read without Celery, and refused with a reason."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from amqp.exceptions import NotFound
from celery import Celery

from onboarding_worker.core.model.incoming import Event, EventKind
from onboarding_worker.events.bus.dead_lettering import refused_message
from onboarding_worker.events.bus.dead_letters import dead_queue, shown
from onboarding_worker.events.bus.messages import TASK, Entry, event_in_task
from onboarding_worker.events.bus.sources import Source, events_of, requests_at
from onboarding_worker.events.cloudevents import LARGEST, Unreadable
from onboarding_worker.runtime.bus_consumers import link_to
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import wait_until

PAGE = Path(__file__).parents[3] / "docs/reference/library.md"
DATA = {"customer_id": "C-1", "email": "quirin@example.com", "first_name": "Zoë"}
EVENT = {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": "1", "data": DATA}


def task(body: Any, **headers: Any) -> Entry:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Entry(raw, "application/json", "utf-8", {"task": TASK, "id": "1", "eta": None, "expires": None, **headers})


@pytest.mark.parametrize(
    "body",
    [
        [[EVENT], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
        [[], {"event": EVENT}, {}],
        [[EVENT], {}, None],
    ],
)
def test_the_one_argument_of_a_task_is_the_event(body: Any):
    event = event_in_task(task(body))
    assert isinstance(event, Event)
    assert (event.source, event.id, event.data) == ("/signup", "1", DATA)


def test_data_alone_is_a_request_and_the_same_data_is_the_same_request():
    first, second = (event_in_task(task([[DATA], {}, {}], id=id_)) for id_ in ("1", "2"))
    assert isinstance(first, Event)
    assert first.kind is EventKind.REQUESTED
    assert first == second


NO_TASKS = {
    "an object": (task(EVENT), "protocol 2"),
    "a list of two": (task([[EVENT], {}]), "protocol 2"),
    "arguments that are none": (task(["quirin", {}, {}]), "protocol 2"),
    "no JSON": (task(b"quirin@example.com"), "protocol 2"),
    "deep": (task(b"[" * 100_000), "protocol 2"),
    "nested deeper than an event": (task(b"[[" + b"[" * 500 + b"]" * 500 + b"], {}, {}]"), "protocol 2"),
    "too large": (task([["x" * LARGEST], {}, {}]), "bytes"),
    "no argument": (task([[], {}, {}]), "one event"),
    "two arguments": (task([[EVENT, "quirin"], {}, {}]), "one event"),
    "another name": (task([[], {"quirin": EVENT}, {}]), "one event"),
    "no object": (task([["quirin"], {}, {}]), "not a JSON object"),
    "half a surrogate pair": (task(rb'[[{"customer_id": "\ud800"}], {}, {}]'), "not UTF-8"),
    "a NUL": (task(rb'[[{"customer_id": "\u0000"}], {}, {}]'), "NUL"),
    "a misspelt task": (task([[EVENT], {}, {}], task="onboarding.requested"), "its task is not"),
    "a task that is no text": (task([[EVENT], {}, {}], task=7), "its task is not"),
    "a countdown": (task([[EVENT], {}, {}], eta="2026-11-21T12:00:00+00:00"), "invite_after"),
    "an expiry": (task([[EVENT], {}, {}], expires="quirin"), "invite_after"),
    "a chain": (task([[EVENT], {}, {"chain": [{"task": "quirin"}]}]), "chain"),
    "compressed": (task([[EVENT], {}, {}], compression="application/x-gzip"), "compressed"),
    "pickle": (Entry(b"\x80", "application/x-python-serialize", "binary", {"task": TASK}), "json"),
    "no task": (Entry(b"[[], {}, {}]", "application/json", "utf-8", {}), "send_task"),
    "no envelope": (Entry(b"quirin", broken="the entry is not an envelope as kombu writes it"), "envelope"),
}


def test_what_is_no_request_is_refused_and_the_reason_repeats_nothing_of_it(subtests: pytest.Subtests):
    for what in NO_TASKS:
        with subtests.test(what=what):
            message, words = NO_TASKS[what]
            found = event_in_task(message)
            assert isinstance(found, Unreadable)
            assert words in found.reason
            assert "quirin" not in found.reason
            assert "quirin" not in repr(refused_message(message, found.reason, "q")) + json.dumps(shown(message))


def prepared(broker: Any) -> Source:
    """The queue of tasks, as `onboard bus` makes it when it starts."""
    topology = events_of(broker.bus).topology
    topology = replace(topology, key=broker.bus.queue, is_list=not topology.on_amqp)
    source = Source(topology, broker.bus.url, "broker.url", event_in_task)
    with link_to(source, 1, pytest.fail):
        pass
    return source


def put_back(source: Source, inbox: FakeInbox, id_: UUID) -> int:
    with dead_queue(source.topology, source.url) as queue:
        queue.put_back(inbox.message(id_))
        return queue.forget([id_])


def page_sends(broker: Any, *events: Any, task_name: str = TASK) -> None:
    """Run what docs/reference/library.md shows for this broker, with the test's own queue."""
    blocks = PAGE.read_text("utf-8").partition("## A Celery task, by name")[2].split("```python\n")[1:3]
    source = blocks[0 if broker.bus.url.startswith("amqp") else 1].partition("```")[0]
    source = source.replace('"requests"', repr(broker.bus.queue)).replace(TASK, task_name)
    with Celery("theirs", broker=broker.bus.url, set_as_current=False) as theirs:
        for event in events:
            exec(compile(source, str(PAGE), "exec"), {"app": theirs, "event": event})  # noqa: S102 -- our own page


@pytest.fixture
def no_queue(make_broker: Any, bus_url: str) -> Any:
    """The broker before `onboard bus` was ever started on it."""
    return make_broker(bus_url, declared=False)


def test_send_task_of_another_project_is_taken_and_a_misspelt_name_is_kept_with_the_reason(
    no_queue: Any, inbox: FakeInbox, caplog: Any
):
    broker, source = no_queue, prepared(no_queue)
    for task_name in (TASK, "onboarding.requested"):
        page_sends(broker, EVENT, task_name=task_name)

    with consuming(source, inbox):
        wait_until(lambda: inbox.seen == 1 and len(broker.dead()) == 1, "one is taken and one refused")

    assert inbox.customers == ["C-1"]
    ((id_, dead),) = inbox.refused.items()
    assert (dead.reason, dead.kind) == ("its task is not onboarding.request", "onboarding.requested")
    assert json.loads(inbox.message(id_).body)[0] == [EVENT]
    assert shown(inbox.message(id_))["body"]["data"]["customer_id"] == "a text of 3"
    assert "quirin" not in caplog.text
    assert put_back(source, inbox, id_) == 1  # as it came: a task that is refused again
    with consuming(source, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused again")


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
def test_a_task_for_redis_waits_for_the_first_start_of_the_bus(no_queue: Any, inbox: FakeInbox):
    page_sends(no_queue, EVENT)

    with consuming(prepared(no_queue), inbox):
        wait_until(lambda: inbox.seen == 1, "it is read")
    assert inbox.customers == ["C-1"]


@pytest.mark.parametrize("kind", ["redis"], indirect=True)
def test_a_task_that_was_on_its_way_into_the_stream_is_read_and_so_is_one_with_a_priority(
    no_queue: Any, inbox: FakeInbox
):
    page_sends(no_queue, EVENT, {**EVENT, "id": "2"})
    with no_queue.client() as client:
        client.lmove(no_queue.bus.queue, f"{no_queue.bus.queue}.moving", "RIGHT", "LEFT")
        client.lmove(no_queue.bus.queue, f"{no_queue.bus.queue}\x06\x169", "RIGHT", "LEFT")

    with consuming(prepared(no_queue), inbox):
        wait_until(lambda: len(inbox.taken) == 2, "both are read")
    with no_queue.client() as client:
        wait_until(lambda: client.xlen(f"{no_queue.bus.queue}.stream") == 0, "nothing is left")
        assert client.llen(f"{no_queue.bus.queue}.moving") == 0


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_a_task_for_rabbitmq_fails_while_there_is_no_queue_and_then_goes(no_queue: Any, inbox: FakeInbox):
    with pytest.raises(NotFound):
        page_sends(no_queue, EVENT)

    made = prepared(no_queue)
    page_sends(no_queue, EVENT)
    with consuming(made, inbox):
        wait_until(lambda: inbox.seen == 1, "it is read")
    assert inbox.customers == ["C-1"]


def test_requests_have_an_exchange_of_their_own_so_that_sending_fails_while_there_is_no_queue():
    topology = requests_at("amqp://127.0.0.1").topology
    assert (topology.queue, topology.key, topology.dead) == ("requests", "requests", "requests.dead")
