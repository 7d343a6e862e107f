"""`worker` and `beat` as processes, over both brokers and on both pools: the whole way, until ended.

Each test has a Redis of its own, or queues with a prefix of its own on the machine's RabbitMQ. There the queues whose
names are fixed, such as `requests`, are one test's at a time, also next to another run.
"""

import fcntl
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue

from onboarding_worker.runtime.celery_settings import MOST_WAKE_UPS, celeryconfig, computed
from onboarding_worker.settings.load import load
from onboarding_worker.settings.queue_names import EXCHANGE, ISSUE, QUEUES
from tests.desk.desk import Desk, Played, customers
from tests.suite.some import some
from tests.suite.waiting import wait_until

NUMBER = 60
DEAD_REQUESTS = "requests.dead"
# `requests` with the keys beside it on Redis, and a queue of another application.
FIXED = ("issue", "requests", "requests.undelivered", "requests.moving", "requests.stream", DEAD_REQUESTS)
EACH_POOL = pytest.mark.parametrize(
    ("broker", "pool"),
    [
        ("redis", "threads"),
        ("amqp", "prefork"),
        pytest.param("redis", "prefork", marks=pytest.mark.long),
        pytest.param("amqp", "threads", marks=pytest.mark.long),
    ],
    indirect=["broker"],
)


@pytest.fixture
def prefix() -> str:
    return f"tests.{token_hex(4)}."


@pytest.fixture
def rabbitmq(amqp_url: str, prefix: str) -> Iterator[str]:
    yield amqp_url
    exchanges = (prefix + EXCHANGE, f"{prefix}celery.pidbox", f"reply.{prefix}celery.pidbox", f"{prefix}celeryev")
    remove(amqp_url, (prefix + name for name in QUEUES), exchanges)


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest) -> str:
    """A broker without queues with this test's prefix."""
    if request.param == "amqp":
        return str(request.getfixturevalue("rabbitmq"))
    return str(request.getfixturevalue("own_redis").url)


@pytest.fixture
def fixed_names(broker: str) -> Iterator[None]:
    """On RabbitMQ, waits until no other test process on this machine uses the queues whose names are fixed, and removes
    them."""
    if not broker.startswith("amqp"):
        yield
        return
    with (Path(tempfile.gettempdir()) / "onboarding-tests-broker.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove(broker, FIXED)
        yield
        remove(broker, FIXED)


def remove(url: str, queues: Iterable[str], exchanges: Iterable[str] = ()) -> None:
    with Connection(url) as connection, connection.channel() as channel:
        for name in queues:
            channel.queue_delete(name)
        for name in exchanges:
            channel.exchange_delete(name)


def request(broker: str, *events: Any) -> None:
    """As docs/reference/library.md has it, without any code of ours."""
    amqp = broker.startswith("amqp")
    exchange = Exchange("requests", type="topic") if amqp else Exchange("", type="direct")
    queue = Queue("requests", exchange, routing_key="requests", no_declare=amqp)
    with Celery("theirs", broker=broker, set_as_current=False) as theirs:
        theirs.conf.broker_transport_options = {"confirm_publish": True} if amqp else {}
        for event in events:
            theirs.send_task("onboarding.request", args=[event], queue=queue, argsrepr="(…)")


def start_bus(office: Desk) -> Any:
    """`onboard bus`, once it consumes the requests."""
    log = office.path / "bus.log"
    log.unlink(missing_ok=True)
    bus = office.start("bus", "--log-file", str(log))
    wait_until(lambda: log.exists() and "takes events from the queue requests," in log.read_text(), "it takes requests")
    return bus


def children(pid: int) -> int:
    """How many processes a process has forked and still has."""
    return sum(len(file.read_text().split()) for file in Path(f"/proc/{pid}/task").glob("*/children"))


@pytest.fixture
def office(desk: Desk, broker: str, prefix: str, empty_postgresql_url: str) -> Desk:
    """A desk with PostgreSQL and a broker."""
    desk.secret("database", empty_postgresql_url)
    desk.secret("broker", broker)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.add(f'[broker]\nurl = {{ file = "secrets/broker" }}\nprefix = "{prefix}"\n')
    return desk


@EACH_POOL
def test_workers_and_beat_invite_an_imported_list_and_end_on_a_signal(
    office: Desk, played: Played, broker: str, pool: str
):
    options = [["--concurrency", "3"]] if pool == "prefork" else [[], ["--queues", "issue,sweep"]]
    processes = [*(office.start("worker", "--pool", pool, *more) for more in options), office.start("beat")]
    listed = office.list_of(customers(NUMBER, au=NUMBER // 3))
    imported = office.onboard("import", listed, "--json")
    assert imported.code == 0

    def sent() -> bool:
        assert [process.poll() for process in processes] == [None] * len(processes)
        return bool(office.onboard("status", "latest", "--json").facts["state"] == "sent")

    wait_until(lambda: len(played.sandbox.mailbox) == NUMBER, "every message has arrived")  # cheaper to look at
    wait_until(sent, "every invitation is out")
    if Path("/proc/self/task").is_dir():  # where it can be seen: Celery takes the pool that was asked for
        assert children(processes[0].pid) == (3 if pool == "prefork" else 0)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        ended = office.end(process)
        assert ended.code == 0
        # Who hears not all says so.
        alone = process is processes[1] and pool == "threads"
        assert ("this worker consumes only issue, sweep: other workers must consume invite (" in ended.err) == alone
        assert not any(word in ended.err for word in ("box1@", "Quirin", "Ostrander", "sandbox-secret"))
        assert not any(token in ended.err for token in played.tokens)
    facts = office.onboard("status", "latest", "--json").facts
    assert facts["rows"]["invited"] == NUMBER
    assert set(played.opened.values()) == {1}
    assert len(played.opened) == NUMBER
    assert len(played.sandbox.mailbox) == NUMBER


@pytest.mark.usefixtures("fixed_names")
def test_a_project_of_its_own_requests_by_a_task_and_what_is_refused_is_kept(office: Desk, played: Played, broker: str):
    worker, bus = office.start("worker"), start_bus(office)
    data = {"customer_id": "C-0001", "email": "box1@example.com", "country": "DE"}
    event = {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": "s-1", "data": data}
    wrong = {**event, "id": "s-2", "data": {"customer_id": "C-0002", "email": "box2@nowhere"}}
    request(broker, event, event, wrong, "no object")
    wait_until(lambda: len(played.sandbox.mailbox) == 1, "the invitation is out")

    def refused() -> dict[str, Any]:
        events = office.onboard("events", "dead", "list", "--json").facts["events"]
        return {event["problems"] or event["reason"]: event for event in events}

    wait_until(lambda: len(refused()) == 2, "what was refused is kept")
    unfit = next(event for problems, event in refused().items() if "email" in problems)
    assert (unfit["queue"], unfit["type"], unfit["refused_at"][-1]) == (DEAD_REQUESTS, "onboarding.requested", "Z")
    shown = office.onboard("events", "dead", "show", unfit["id"], "--json")
    assert shown.facts["body"]["data"] == {"customer_id": "a text of 6", "email": "a text of 12"}
    listed = office.onboard("events", "dead", "list").out
    assert unfit["id"] in listed
    assert f"{DEAD_REQUESTS}: 2" in listed
    assert not any(word in shown.out + listed for word in ("C-0002", "nowhere", "no object"))
    # Put back as it came, it is looked at again, and refused again under the same id.
    ended = office.onboard("events", "dead", "requeue", unfit["id"], "--json")
    assert (ended.code, ended.facts["queues"]) == (0, {DEAD_REQUESTS: 1})
    wait_until(lambda: any(event["id"] == unfit["id"] for event in refused().values()), "it was refused again")
    assert [office.end(process, by=signal.SIGTERM).code for process in (worker, bus)] == [0, 0]
    log = (office.path / "bus.log").read_text()
    assert "; 5 in all" in log
    assert not any(word in log for word in ("box1@", "box2@", "nowhere"))
    assert played.opened == {"C-0001": 1}


@pytest.mark.usefixtures("fixed_names")
@pytest.mark.parametrize("broker", [pytest.param("redis", marks=pytest.mark.long), "amqp"], indirect=True)
def test_a_refused_request_is_stored_when_it_is_put_back_after_its_cause_was_fixed(
    office: Desk, played: Played, broker: str
):
    # It names an account that there is not yet.
    data = {"customer_id": "C-0001", "email": "box1@example.com", "country": "DE", "account": "kyc-new"}
    event = {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": "s-1", "data": data}
    bus = start_bus(office)
    request(broker, event)
    wait_until(lambda: office.onboard("events", "dead", "list", "--json").facts["total"] == 1, "it is refused")
    for _ in range(3):  # as somebody does who looks again and again: it stays
        assert office.onboard("events", "dead", "list", "--json").facts["total"] == 1
    office.end(bus, by=signal.SIGTERM)
    kyc = office.config.read_text("utf-8").partition("[accounts.kyc]")[2].partition("[accounts.")[0]
    office.add(f'[rights]\nlibrary = ["account"]\n[accounts.kyc-new]\nper_row = ["account"]{kyc}')
    bus = start_bus(office)
    ended = office.onboard("events", "dead", "requeue", "--all", "--yes")
    assert ended.out == f"1 event was put back ({DEAD_REQUESTS} 1)\n", ended.err

    def waiting() -> int:
        batches = office.onboard("status", "--json").facts["batches"]
        return sum(int(batch["rows"]["waiting"]) for batch in batches)

    wait_until(lambda: waiting() == 1, "it is stored")
    assert office.onboard("events", "dead", "list", "--json").facts["total"] == 0
    assert office.end(bus, by=signal.SIGTERM).code == 0


@pytest.mark.usefixtures("fixed_names")
@pytest.mark.parametrize("broker", ["redis", pytest.param("amqp", marks=pytest.mark.long)], indirect=True)
def test_up_with_a_broker_takes_requests_too(office: Desk, played: Played, broker: str):
    log = office.path / "up.log"
    up = office.start("up", "--bind", "127.0.0.1:0", "--log-level", "info", "--log-file", str(log))
    wait_until(lambda: log.exists() and "takes events from the queue requests," in log.read_text(), "it takes requests")
    request(broker, {"customer_id": "C-0001", "email": "box1@example.com", "country": "DE"})
    wait_until(lambda: len(played.sandbox.mailbox) == 1, "the invitation is out")
    assert office.end(up, by=signal.SIGTERM).code == 0


THEIRS = """
import os
from celery import Celery

app = Celery("theirs", broker=os.environ["THEIR_BROKER"])
app.conf.task_default_queue = "issue"

@app.task(name="issue")
def issue(number):
    with open("theirs.txt", "a") as file:
        file.write(f"{number}\\n")
"""


@pytest.mark.usefixtures("fixed_names")
def test_an_application_that_shares_the_broker_gets_all_of_its_tasks_and_so_do_we(
    office: Desk, played: Played, broker: str
):
    """With a queue and a task that have the names of ours without the prefix."""
    office.write("theirs.py", THEIRS)
    office.environ["THEIR_BROKER"] = broker
    theirs = office.start("worker", "--pool", "solo", program=(sys.executable, "-m", "celery", "-A", "theirs"))
    ours = [office.start("worker"), office.start("beat")]
    assert office.onboard("import", office.list_of(customers(NUMBER))).code == 0
    with Celery("theirs", broker=broker, set_as_current=False) as app:
        for number in range(NUMBER):
            app.send_task("issue", args=[number], queue="issue")

    wait_until(lambda: len(played.sandbox.mailbox) == NUMBER, "every message has arrived")
    done = office.path / "theirs.txt"
    wait_until(lambda: done.exists() and len(done.read_text().split()) >= NUMBER, "every task of theirs is done")

    assert sorted(map(int, done.read_text().split())) == list(range(NUMBER))
    assert set(played.opened.values()) == {1}
    assert [office.end(process, by=signal.SIGTERM).code for process in (*ours, theirs)] == [0, 0, 0]


def test_wake_ups_that_no_worker_consumes_do_not_pile_up_in_rabbitmq(desk: Desk, rabbitmq: str, prefix: str):
    desk.secret("broker", rabbitmq)
    desk.add(f'[broker]\nurl = {{ file = "secrets/broker" }}\nprefix = "{prefix}"\n')
    queue = next(queue for queue in computed(load(desk.config))["task_queues"] if queue.name == prefix + ISSUE)
    with Connection(rabbitmq) as connection:
        channel = connection.channel()
        bound = queue(channel)
        bound.declare()
        producer = connection.Producer(channel)
        for number in range(MOST_WAKE_UPS + 5):
            producer.publish(number, exchange=bound.exchange, routing_key=bound.routing_key)
        wait_until(lambda: bound.queue_declare(passive=True).message_count == MOST_WAKE_UPS, "the bound is kept")
        assert bound.get(no_ack=True).payload == 5  # the oldest went


@pytest.mark.parametrize("url", ["amqp://127.0.0.1", "redis://127.0.0.1"])
def test_nothing_waits_for_a_broker_without_a_bound(desk: Desk, url: str):
    desk.add(f'[broker]\nurl = "{url}"\n')
    settings = {**vars(celeryconfig()), **computed(load(desk.config))}
    transport = settings["broker_transport_options"]
    bounds = ("read_timeout", "write_timeout") if url.startswith("amqp") else ("socket_timeout",)
    assert all(0 < transport[bound] <= 10 for bound in some(bounds))
    assert url.startswith("amqp") or transport["socket_keepalive_options"]
    options = settings["beat_schedule"]["sweep"]["options"]
    assert options["retry"] is False
    assert 0 < options["confirm_timeout"] <= 10
    # RabbitMQ closes the channel of a worker that holds a wake-up for too long.
    assert (settings["task_acks_late"], settings["broker_channel_error_retry"]) == (False, True)
