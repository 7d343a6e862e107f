"""Messages that strangers write to our queues: none ends a process, costs its memory, or reaches its log."""

import base64
import json
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
import redis
from celery import Celery
from celery.events.event import get_exchange

from onboarding_worker.runtime.celery_consumer import LARGEST, WakeUpMessage, wake_up_in
from onboarding_worker.runtime.monitoring import Command, command_in
from onboarding_worker.settings import queue_names
from tests.desk.desk import CELERY, Desk, Played, customers
from tests.hostile import places
from tests.runtime.test_workers import DEAD_REQUESTS, FIXED, broker, fixed_names, office, rabbitmq, start_bus
from tests.suite.waiting import wait_until

__all__ = ["broker", "fixed_names", "office", "rabbitmq"]
PREFIX = "hostile."  # the tables below have it; `fixed_names` keeps other runs away
ISSUE, INVITE, PUBLISH, SWEEP = QUEUES = tuple(PREFIX + name for name in queue_names.QUEUES)
PIDBOX, REPLIES = f"{PREFIX}celery.pidbox", f"reply.{PREFIX}celery.pidbox"
MARKER = "quirin@example.com"
ID = "5f0c7a1e-0000-4000-8000-000000000000"
OURS = {"task": ISSUE, "id": ID}
BODY = json.dumps([["kyc"], {}, {}]).encode()


def noughts(millions: int) -> bytes:
    """A zlib stream of so many million noughts: one block is compressed, and comes again and again."""
    million, packer = b"0" * 1_000_000, zlib.compressobj(9)
    begin = packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)
    # Adler-32 of so many noughts, without looking at each.
    count, nought = millions * 1_000_000, ord("0")
    low, high = (1 + nought * count) % 65521, (count + nought * count * (count + 1) // 2) % 65521
    return begin + begin[2:] * (millions - 1) + b"\x03\x00" + (high << 16 | low).to_bytes(4, "big")


BOMB = noughts(400)


def headers(**more: Any) -> dict[str, Any]:
    return {**OURS, **more}


# Each: headers, body, content type. What Celery would have done with it, in the order of the findings.
HOSTILE: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "no arguments at all": (OURS, json.dumps({"email": MARKER}).encode(), "application/json"),
    "two parts": (OURS, json.dumps([[MARKER], {}]).encode(), "application/json"),
    "two names": (OURS, json.dumps([[MARKER, "kyc"], {}, {}]).encode(), "application/json"),
    "named arguments": (OURS, json.dumps([[], {"account": MARKER}, {}]).encode(), "application/json"),
    "an object for a name": (OURS, json.dumps([[{"email": MARKER}], {}, {}]).encode(), "application/json"),
    "a line break in a name": (OURS, json.dumps([[f"x\n2026 CRITICAL {MARKER}"], {}, {}]).encode(), "application/json"),
    "a name for the sweep": (headers(task=SWEEP), json.dumps([[MARKER], {}, {}]).encode(), "application/json"),
    "another task": (headers(task="onboarding.requested"), json.dumps([[MARKER], {}, {}]).encode(), "application/json"),
    "no task": ({}, json.dumps({"email": MARKER}).encode(), "application/json"),
    "protocol 1": ({}, json.dumps({"task": ISSUE, "id": ID, "args": [MARKER]}).encode(), "application/json"),
    "an id that is none": (headers(id=f"{MARKER}\n"), BODY, "application/json"),
    "a task that is none": (headers(task=[MARKER]), BODY, "application/json"),
    "no JSON": (OURS, b'{"email": "quirin@example.com"', "application/json"),
    "deep": (OURS, b"[" * 4000, "application/json"),
    "deeper than Python": (OURS, b"[" * 100_000, "application/json"),
    "large": (OURS, json.dumps([[MARKER * 1000], {}, {}]).encode(), "application/json"),
    "pickle": (OURS, b"cposix\nsystem\n(S'quirin@example.com'\ntR.", "application/x-python-serialize"),
    "YAML": (OURS, b"!!python/object/apply:os.system ['quirin@example.com']", "application/x-yaml"),
    "a bomb": (headers(compression="application/x-gzip"), BOMB, "application/json"),
}


def test_what_is_no_wake_up_is_known_before_celery_sees_it(subtests: pytest.Subtests):
    for what in HOSTILE:
        with subtests.test(what=what):
            given, body, content_type = HOSTILE[what]
            found = wake_up_in(given, body, content_type, "utf-8", prefix=PREFIX)
            assert isinstance(found, str)
            assert MARKER not in found


def test_of_a_wake_up_nothing_is_taken_over_but_task_id_and_name(subtests: pytest.Subtests):
    for more in [
        {"timelimit": 5},
        {"timelimit": [None, MARKER]},
        {"eta": MARKER, "expires": MARKER},
        {"eta": "9999-12-31T23:59:59+14:00"},
        {"shadow": MARKER, "argsrepr": MARKER, "kwargsrepr": MARKER, "origin": MARKER},
        {"stamped_headers": MARKER, "stamps": 5, "retries": MARKER, "group": MARKER},
    ]:
        with subtests.test(more=more):
            options = {"chain": [{"task": MARKER}], "callbacks": [MARKER]}
            raw = json.dumps([["kyc"], {}, options]).encode()
            found = wake_up_in(headers(**more), raw, "application/json", "utf-8", prefix=PREFIX)
            assert found == WakeUpMessage(ISSUE, queue_names.ISSUE, ID, ("kyc",))
            assert MARKER not in json.dumps(found.headers) + found.body.decode()
            assert len(found.body) < LARGEST


@pytest.mark.parametrize(
    ("content_type", "encoding", "given"),
    [(None, "utf-8", OURS), ("application/json", "punycode", OURS), ("application/json", "utf-8", None), (5, 5, 5)],
)
def test_a_message_without_the_form_of_ours_is_no_wake_up(content_type: Any, encoding: Any, given: Any):
    assert isinstance(wake_up_in(given, BODY, content_type, encoding, prefix=PREFIX), str)


def test_a_wake_up_of_another_prefix_is_none_of_ours(subtests: pytest.Subtests):
    for prefix in ("", "onboarding.", f"{PREFIX}."):
        with subtests.test(prefix=prefix):
            given = headers(task=f"{prefix}{queue_names.ISSUE}")
            assert isinstance(wake_up_in(given, BODY, "application/json", "utf-8", prefix=PREFIX), str)


def command(**more: Any) -> bytes:
    """What a monitor sends, and waits for an answer to."""
    reply_to = {"exchange": REPLIES, "routing_key": ID}
    sent = {"method": "ping", "arguments": {}, "destination": None, "pattern": None, "matcher": None}
    return json.dumps({**sent, "ticket": ID, "reply_to": reply_to, **more}).encode()


JSON = "application/json"
# Each: body, content type.
NO_COMMANDS: dict[str, tuple[bytes, str]] = {
    "no JSON": (f'{{"method": "{MARKER}'.encode(), JSON),
    "no object": (json.dumps([MARKER]).encode(), JSON),
    "no name": (json.dumps({"arguments": {"email": MARKER}}).encode(), JSON),
    "a name that is none": (command(method=[MARKER]), JSON),
    "one worker instead of several": (command(destination=MARKER), JSON),
    "workers that are none": (command(destination=[{"email": MARKER}]), JSON),
    "a pattern that never ends": (command(pattern="(.*)*" + MARKER, matcher="pcre"), JSON),
    "an answer to a text": (command(reply_to=MARKER), JSON),
    "an answer to another exchange": (command(reply_to={"exchange": MARKER, "routing_key": ID}), JSON),
    "an answer into a queue": (command(reply_to={"exchange": "", "routing_key": "requests"}), JSON),
    "an answer without an address": (command(reply_to={"exchange": REPLIES}), JSON),
    "an answer with an odd address": (command(reply_to={"exchange": REPLIES, "routing_key": f"{MARKER}\n"}), JSON),
    "a ticket that is none": (command(ticket={"email": MARKER}), JSON),
    "large": (command(arguments={"email": MARKER * 10_000}), JSON),
    "deeper than Python": (b"[" * 60_000, JSON),
    "a name twice": (b'{"method": "ping", "method": "' + MARKER.encode() + b'"}', JSON),
    "pickle": (b"cposix\nsystem\n(S'quirin@example.com'\ntR.", "application/x-python-serialize"),
    "YAML": (b"!!python/object/apply:os.system ['quirin@example.com']", "application/x-yaml"),
}


def test_what_is_no_command_is_known_before_anything_is_done(subtests: pytest.Subtests):
    for what, (body, content_type) in NO_COMMANDS.items():
        with subtests.test(what=what):
            found = command_in(body, content_type, "utf-8", replies=REPLIES)
            assert isinstance(found, str)
            assert MARKER not in found


def test_a_command_is_its_name_its_workers_and_where_its_answer_is_waited_for():
    sent = command(arguments={"revoked": [MARKER]}, destination=["w@a"], extra=MARKER)
    assert command_in(sent, JSON, "utf-8", replies=REPLIES) == Command("ping", ("w@a",), ID, ID)
    cast = command_in(command(reply_to=None, ticket=None), JSON, "utf-8", replies=REPLIES)
    assert cast == Command("ping", None)


# A real worker gets all of them.


def envelope(given: dict[str, Any], body: bytes, content_type: str, **more: Any) -> str:
    properties = {
        "body_encoding": "base64",
        "delivery_tag": ID,
        "delivery_info": {"exchange": "", "routing_key": ISSUE},
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8",
            "headers": given,
            "properties": {**properties, **more},
        }
    )


RAW = [
    MARKER.encode(),
    json.dumps({"email": MARKER}).encode(),
    json.dumps([MARKER]).encode(),
    b"[" * 100_000,
    bytes(range(256)),
    envelope(OURS, BODY, "application/json", delivery_info=MARKER).encode(),
    envelope(OURS, BODY, "application/json", delivery_tag=[MARKER]).encode(),
    envelope(OURS, BODY, "application/json", body_encoding=MARKER).encode(),
    json.dumps({"body": "=é=", "headers": MARKER, "properties": {"body_encoding": "base64"}}).encode(),
]
ODD: list[dict[str, Any]] = [
    {"timestamp": 2**64 - 1},
    {"content_encoding": "no such thing"},
    {"headers": headers(deep={"er": [1, None, True, -(2**62), b"\xff"]}, task={"a": MARKER})},
    {"reply_to": MARKER, "correlation_id": MARKER, "headers": headers(timelimit=5)},
]


# A name may be any text, and these are the wake-ups of nothing.
NAMED = [(headers(task=task), json.dumps([[MARKER], {}, {}]).encode()) for task in (ISSUE, PUBLISH)]
# What Celery's workers would tell each other. Celery's own command reads it, if nothing forbids that.
GOSSIP = ["worker.online", "worker.heartbeat", "worker.elect", "worker.elect.ack"]


# Celery's own commands for its workers, which anybody may send who can write to the broker. Each is sent twice: as one
# whose answer is waited for, by a queue that there is not.
CONTROL: list[tuple[str, dict[str, Any]]] = [
    *(("cancel_consumer", {"queue": name}) for name in (ISSUE, PUBLISH, SWEEP, "invite")),
    ("shutdown", {}),
    ("rate_limit", {"task_name": SWEEP, "rate_limit": "1/h"}),
    ("time_limit", {"task_name": ISSUE, "hard": 0.001}),
    ("pool_shrink", {"n": 100}),
    ("pool_restart", {"modules": [MARKER], "reload": True}),
    ("add_consumer", {"queue": MARKER}),
    ("enable_events", {}),
    ("hello", {"from_node": MARKER, "revoked": [ID, MARKER]}),
    ("registered", {"taskinfoitems": ["app", "backend", MARKER]}),
    ("autoscale", {"max": 0, "min": 0}),
    ("revoke", {"task_id": ID, "terminate": True}),
    ("election", {"id": ID, "topic": MARKER}),
    ("ping", {"no": "such argument"}),
    (MARKER, {}),
]


def celery_of(url: str) -> Celery:
    """As a stranger's, which asks and commands our workers."""
    app = Celery(broker=url, set_as_current=False)
    app.conf.control_exchange = f"{PREFIX}celery"
    return app


def commands() -> Iterator[tuple[bytes, str]]:
    """Commands that are none, and such whose answers nobody waits for."""
    yield from NO_COMMANDS.values()
    yield from ((command(method=name, arguments=arguments), JSON) for name, arguments in CONTROL)


def send_hostile(url: str) -> int:
    """Send everything to `issue`, to remote control, to Celery's events and to `requests`.

    Returns how many messages are in `requests`.
    """
    with celery_of(url) as foreign:
        for name, arguments in CONTROL:
            foreign.control.broadcast(name, arguments=arguments)
        if not url.startswith("redis"):
            with foreign.connection_for_write() as other:
                get_exchange(other, f"{PREFIX}celeryev")(other).declare()  # as workers do that send events
    tasks = [({**given, "task": "onboarding.request"}, *rest) for given, *rest in HOSTILE.values()]
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            entries = [*(envelope(*one) for one in HOSTILE.values()), *RAW]
            asked = [envelope({}, *one) for one in commands()]
            client.lpush(ISSUE, *entries, *(envelope(*named, "application/json") for named in NAMED))
            number = client.get_connection_kwargs().get("db", 0)
            for entry in (entry for entry in entries if len(entry) < LARGEST):
                for key in (PIDBOX, *(f"{PREFIX}celeryev/{key}" for key in GOSSIP)):
                    client.publish(f"/{number}.{key}", entry)
            for entry in asked:
                client.publish(f"/{number}.{PIDBOX}", entry)
            client.lpush("requests", *(envelope(*one) for one in tasks), *RAW)
        return len(tasks) + len(RAW)
    connection = pika.BlockingConnection(pika.URLParameters(url.removesuffix("//") + "/%2F"))
    channel = connection.channel()
    channel.confirm_delivery()  # a queue that has only just been made may lose what nobody waits for
    for given, body, content_type in HOSTILE.values():
        properties = pika.BasicProperties(content_type=content_type, content_encoding="utf-8", headers=given)
        channel.basic_publish("", ISSUE, body, properties)
        channel.basic_publish(PIDBOX, "", body, properties)
        for key in GOSSIP if len(body) < LARGEST else ():
            channel.basic_publish(f"{PREFIX}celeryev", key, body, properties)
    for body, content_type in commands():
        properties = pika.BasicProperties(content_type=content_type, content_encoding="utf-8")
        channel.basic_publish(PIDBOX, "", body, properties)
    for given, body in NAMED:
        properties = pika.BasicProperties(content_type="application/json", content_encoding="utf-8", headers=given)
        channel.basic_publish("", ISSUE, body, properties)
    for given, body, content_type in tasks:
        properties = pika.BasicProperties(content_type=content_type, content_encoding="utf-8", headers=given)
        channel.basic_publish("requests", "requests", body, properties)
    for more in ODD:
        given = {"content_type": "application/json", "content_encoding": "utf-8", "headers": OURS, **more}
        channel.basic_publish("", ISSUE, BODY, pika.BasicProperties(**given))
        channel.basic_publish("requests", "requests", BODY, pika.BasicProperties(**given))
    connection.close()
    return len(tasks) + len(ODD)


def most_memory(pid: int) -> int:
    """The most memory that the process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def left_in(url: str) -> list[tuple[str, bytes]]:
    """What is in the broker once both processes have ended."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            found = [(key, content) for key, content in places.keys(client) if key in (*QUEUES, *FIXED)]
    else:
        found = list(places.messages(url, (*QUEUES, "requests", "requests.undelivered", DEAD_REQUESTS)))
    assert any(name.startswith(DEAD_REQUESTS) for name, _ in found)
    return found


def refusals(office: Desk) -> int:
    """How many messages were refused; each copy of the same message counts."""
    events = office.onboard("events", "dead", "list", "--limit", "1000", "--json").facts["events"]
    return sum(int(event["refusals"]) for event in events)


@pytest.fixture
def prefix() -> str:
    return PREFIX


@pytest.mark.usefixtures("fixed_names")
def test_worker_and_bus_outlive_every_message_and_work_on(office: Desk, played: Played, broker: str):
    # Celery's own command, which `onboard worker` becomes: it also has what only Celery switches on.
    office.environ |= {"ONBOARDING_CONFIG": "onboarding.toml", "ONBOARDING_LOG_FILE": "worker.log"}
    worker = office.start("worker", program=CELERY)
    log, bus = office.path / "worker.log", start_bus(office)
    wait_until(lambda: log.exists() and " ready." in log.read_text(), "the worker runs")

    refused = send_hostile(broker)

    # Its wake-up comes behind.
    assert office.onboard("import", office.list_of(customers(1))).code == 0
    wait_until(lambda: worker.poll() is not None or len(played.sandbox.mailbox) == 1, "the worker works on")
    wait_until(
        # More where the broker lost the connection to a machine that stood still, and delivered some once more.
        lambda: bus.poll() is not None or refusals(office) >= refused,
        lambda: f"{refused} requests are refused: {refusals(office)} are; {(office.path / 'bus.log').read_text()}",
    )
    assert (worker.poll(), bus.poll()) == (None, None)
    with celery_of(broker) as foreign:
        wait_until(lambda: bool(foreign.control.ping()), "the worker answers the next ping")
        (queues,) = foreign.control.inspect().active_queues().values()
        assert {queue["name"] for queue in queues} == set(QUEUES)
    if Path("/proc/self/status").exists():
        assert max(most_memory(worker.pid), most_memory(bus.pid)) < 300_000_000
    listed = office.onboard("events", "dead", "list", "--limit", "1000").out
    assert [office.end(one, signal.SIGTERM).code for one in (worker, bus)] == [0, 0]
    text = log.read_text() + (office.path / "bus.log").read_text() + listed
    assert "a message was dropped that is not a wake-up of this project" in text
    searched = [("logs", text.encode()), *places.columns((office.path / "secrets" / "database").read_text())]
    assert places.hits(iter([*searched, *left_in(broker)]), [MARKER, "quirin"]) == []
