"""Every hostile message of the tables, sent to a running `onboard up`, and then looked for wherever bytes are kept.

What is looked for: the people, addresses, numbers, keys, tokens and links of these messages, in each form (PLACES says
where). The wake-ups go over Redis, the events over RabbitMQ and Redis, and the database is PostgreSQL's; SQLite is
searched after each table (conftest.py) and in tests/cli/every_command/test_leaks.py. Celery's own queue, which `up` has
not, is in tests/runtime/test_hostile_messages.py.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onboarding_sandbox import Fault, SmtpFault
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.events.bus.sources import events_of
from tests.desk.desk import DATABASE, Desk, Played
from tests.desk.listener import Listener
from tests.desk.own_redis import OwnRedis
from tests.desk.relay import Relay, relay_to
from tests.desk.sooner import sooner
from tests.events.bus.brokers import Broker, a_bus, broker_of, requested
from tests.events.bus.test_poison import BODIES
from tests.hostile import places, test_events, test_http, test_webhooks
from tests.hostile.requests import status_of
from tests.hostile.served import say
from tests.runtime.test_hostile_messages import HOSTILE, RAW
from tests.runtime.test_hostile_messages import envelope as task_envelope
from tests.runtime.test_up import started
from tests.suite.of_features import needs, of_features
from tests.suite.waiting import ENDS_WITHIN, wait_until
from tests.web.site import FIRST, HOOKS, SECOND, SIGNING, THIRD

# Each place that is searched; docs/security/threat-model.md lists the same.
PLACES = (
    "log file",
    "standard output and error of the process",
    "output of the commands",
    "answers over HTTP",
    "columns of the database",
    "what the database was sent",  # whatever a log of the server's is made from
    "keys of Redis",
    "messages of RabbitMQ",
    "what RabbitMQ was sent",
    "files",
    "input of the subscriber",
    "command lines",
)
OURS = ("xaverine", "quellenhofer", ".private@", "3706123", "1961-07-23", "markerstrasse")  # of the list
THEIRS = ("ona@example.com", "quirin", "ostrander", "37060000001", "evil@example.com", "etc/passwd")  # of the tables
SECRETS = (FIRST, SECOND.removeprefix("whsec_"), SIGNING.decode(), THIRD, *HOOKS.values(), "sandbox-secret")
# A good event, but for its address; and where a producer might have put more of it.
CLEAR = requested("P-800", email="quirin.ostrander", first_name="Quirin", phone="+37060000001")
ODD = [{"x-customer": "ona@example.com"}, {"deep": {"er": [1, {"name": "Quirin Ostrander"}]}}, {"x-death": "quirin"}]
ROWS = [
    {
        "customer_id": f"P-{number:03}",
        "first_name": "Xaverine" + "abcdefghijklmnopqrstuvwxyz"[number],
        "last_name": "Quellenhofer",
        "email": f"xq.{number}.private@example.com",
        "phone": f"+3706123{number:04}",
        "date_of_birth": "1961-07-23",
        "address": "Markerstrasse 77",
        "country": "AU" if number < 6 else "DE",
        "entity_id": f"7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9{number:03}" if number < 6 else "",
    }
    for number in range(20)
]
BAD_ROWS = [
    {"customer_id": "xq.99.private@example.com", "email": "quellenhofer", "first_name": "Xaverine"},
    {"customer_id": "P-900", "email": "xq.private@", "phone": "+37061234", "date_of_birth": "1961-07-233"},
]
FAULTS = ("400-too-many:0.05", "500:0.05", "drop-after:0.1", "half-body:0.1", "html:0.05", "strange-link:0.1")
SMTP_FAULTS = ("452:0.1", "550:0.1", "554:0.05,at=data", "drop-after:0.1")


async def takes_it(_request: web.Request) -> web.Response:
    return web.Response(status=202)


@pytest.fixture
def hostile_played(play: Callable[..., Played]) -> Played:
    return play(
        faults=tuple(Fault.parse(one) for one in FAULTS),
        smtp_faults=tuple(SmtpFault.parse(one) for one in SMTP_FAULTS),
        seed=6,
    )


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener(takes_it)
    yield made
    made.close()


@dataclass(frozen=True)
class Servers:
    """Where the office's rows and events are, and what it sends there."""

    database: str
    to_database: Relay
    bus: str
    to_rabbitmq: Relay
    rabbitmq: Broker

    @property
    def queues(self) -> tuple[str, ...]:
        names = events_of(self.rabbitmq.bus).topology
        return names.queue, names.undelivered, names.dead


@pytest.fixture
def servers(make_postgresql: Callable[[], str], amqp_url: str) -> Iterator[Servers]:
    url = make_postgresql()
    to_database, through = relay_to(url)
    migrated = Database(url)
    schema.upgrade(migrated)
    migrated.close()
    to_rabbitmq, bus = relay_to(amqp_url)
    rabbitmq = broker_of(a_bus(amqp_url))
    yield Servers(through, to_database, bus, to_rabbitmq, rabbitmq)
    rabbitmq.clean()
    for relay in (to_database, to_rabbitmq):
        relay.close()


@pytest.fixture
def office(desk_at: Callable[[Played], Desk], hostile_played: Played, own_redis: OwnRedis, servers: Servers) -> Desk:
    """A desk with every door open, whose keys are those of the tables."""
    desk = desk_at(hostile_played)
    keys = {"first": FIRST, "second": SECOND, "old_hook": HOOKS["OLD_HOOK"]}
    keys |= {"idenfy_webhook_key": HOOKS["HOOK"], "frankieone_webhook_secret": HOOKS["PATH_SECRET"]}
    for name, value in keys.items():
        desk.secret(name, value)
        (desk.path / "secrets" / name).chmod(0o600)
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    desk.change("[accounts.au]", 'prefill = "all"\n[accounts.au]')
    desk.change('from = "+1500', 'callback_key = { file = "secrets/idenfy_webhook_key" }\nfrom = "+1500')
    desk.add(
        '[web]\nevent_limit = "100000/second"\ntrusted_proxies = ["127.0.0.1"]\n'
        'base_url = "https://verify.example.com/onboarding"\n'
        '[web.senders.signup]\nkeys = [{ file = "secrets/first" }, { file = "secrets/second" }]\nlinks = true\n'
        f'queues = ["{servers.rabbitmq.bus.queue}", "requests"]\n'
        f'[broker]\nurl = "{own_redis.url}"\n[bus]\nurl = {{ file = "secrets/bus" }}\n'
        f'queue = "{servers.rabbitmq.bus.queue}"\n' + "".join(of_features("REPORTS_BY_FILES"))
    )
    desk.secret("bus", servers.bus)
    desk.secret("database", servers.database)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    (desk.path / DATABASE).unlink()
    return desk


def of_the_features() -> dict[str, tuple[bytes, int]]:
    return {what: case for place in of_features("HOSTILE") for what, case in import_module(place).CASES.items()}


def each_from_another_machine(requests: dict[str, tuple[bytes, int]]) -> list[bytes]:
    """Refused ones are answered later the more there are from one machine."""
    return [
        request.replace(b"\r\n", f"\r\nX-Forwarded-For: 203.0.113.{number % 250}\r\n".encode(), 1)
        for number, (request, _) in enumerate(requests.values())
    ]


def push_hostile(own_redis: OwnRedis, rabbitmq: Broker) -> None:
    """Send everything to the queue of the bus, and to that of other projects' tasks."""
    tasks = [task_envelope({**given, "task": "onboarding.request"}, *rest) for given, *rest in HOSTILE.values()]
    with own_redis.client() as client:
        client.lpush("requests", *tasks, *RAW)
    rabbitmq.publish(*BODIES.values(), *RAW, CLEAR)
    for given, body, content_type in HOSTILE.values():
        rabbitmq.publish(body, content_type=content_type, headers=given)
    for given in ODD:
        rabbitmq.publish(CLEAR, headers=given)


def waiting(own_redis: OwnRedis, rabbitmq: Broker) -> int:
    """How many messages wait, or are held by the consumer."""
    with own_redis.client() as client:
        tasks = client.llen("requests") + client.llen("requests.moving") + client.xlen("requests.stream")
    return int(tasks) + rabbitmq.waiting()


def worked(office: Desk) -> bool:
    """Whether no row waits or is worked any more. A mail that two broken hand-overs put off is not waited for."""
    (batch, *_) = [one for one in office.onboard("status", "--json").facts["batches"] if one["name"] == "customers.csv"]
    rows: dict[str, int] = batch["rows"]
    return not rows.get("waiting") and not rows.get("working") and rows["issued"] <= 2


def enumerated(contents: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((str(number), content) for number, content in enumerate(contents))


@needs("outbox")
def test_nothing_of_any_hostile_message_is_kept_where_it_could_be_read(
    office: Desk, hostile_played: Played, own_redis: OwnRedis, servers: Servers, listener: Listener
):
    office.add(f'[subscribers.crm]\nurl = "{listener.url}"\nkeys = [{{ file = "secrets/second" }}]\n')
    # The file of problems has the rejected rows, to be mended: it is its owner's like the list.
    given = {"errors.csv", "customers.csv", "onboarding.toml", "onboarding.key", "onboarding-digest.key"}
    office.list_of([*ROWS, *BAD_ROWS])
    process, url = started(office, "--log-level", "debug", "--log-file", "onboard.log", program=sooner(office))
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").exists() else b""

    shown = [office.onboard("check", "customers.csv", "--errors", "errors.csv")]
    shown.append(office.onboard("import", "customers.csv"))
    requests = each_from_another_machine(
        {**test_http.CASES, **test_events.CASES, **test_webhooks.CASES, **of_the_features()}
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: say(int(url.rpartition(":")[2]), request), requests))
    push_hostile(own_redis, servers.rabbitmq)

    wait_until(lambda: worked(office), "each row is worked", 20)
    wait_until(lambda: waiting(own_redis, servers.rabbitmq) == 0, "each message of the bus is settled", 20)
    wait_until(lambda: bool(listener.got), "the subscriber knows", 20)
    for command in (
        ("status", "latest"),
        *(("report", "latest", "--format", form) for form in ("csv", "jsonl", "html")),
        ("events", "dead", "list", "--limit", "1000"),
        ("events", "webhooks", "list"),
        ("audit", "--json"),
        ("account", "list"),
    ):
        shown.append(office.onboard(*command))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=ENDS_WITHIN)

    parts: dict[str, Any] = {
        "log file": [("onboard.log", (office.path / "onboard.log").read_bytes())],
        "standard output and error of the process": [("output", (out + err).encode())],
        "output of the commands": list(enumerated((one.out + one.err).encode() for one in shown)),
        # Ours: what aiohttp itself cannot read it repeats to its sender.
        "answers over HTTP": list(enumerated(one for one in answers if b"\r\nServer: onboard\r\n" in one)),
        "columns of the database": list(places.columns(servers.database)),
        "what the database was sent": list(enumerated(servers.to_database.sent)),
        "keys of Redis": list(places.keys(own_redis.client())),
        "messages of RabbitMQ": list(places.messages(servers.bus, servers.queues)),
        "what RabbitMQ was sent": list(enumerated(servers.to_rabbitmq.sent)),
        "files": list(places.files(office.path, but=given)),
        "input of the subscriber": [(str(headers), body) for headers, body in listener.got],
        "command lines": [("up", command_line)],
    }
    assert tuple(parts) == PLACES
    assert len(parts["columns of the database"]) > 150
    assert len(parts["messages of RabbitMQ"]) > 30
    assert b"INSERT INTO refused_event" in b"".join(servers.to_database.sent)
    assert b"x-refused-id" in b"".join(servers.to_rabbitmq.sent)
    assert shown[-1].code == 0
    assert office.onboard("events", "dead", "list", "--json").facts["total"] > 60
    # What is looked for was really there: in what was sent to those whom it was meant for, and in what came.
    mails = "".join(mail.text or "" for mail in hostile_played.sandbox.mailbox)
    assert any(token in mails for token in hostile_played.tokens)
    assert {status_of(answer) for answer in answers} >= {200, 202, 204, 400, 401, 404, 405, 413, 415, 422}
    never = [*OURS, *THEIRS, *SECRETS, *hostile_played.tokens]
    leaks = {place: places.hits(iter(contents), never) for place, contents in parts.items()}
    assert {place: found for place, found in leaks.items() if found} == {}
