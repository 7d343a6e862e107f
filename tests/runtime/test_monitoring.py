"""Celery's monitors see a worker, and nobody commands it."""

import json
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.control import Panel
from kombu import Connection, Queue

from onboarding_worker.runtime.celery_settings import computed
from onboarding_worker.runtime.monitoring import ANSWERS, Dispatcher, Request, answer_to
from onboarding_worker.settings.load import load
from onboarding_worker.settings.queue_names import QUEUES
from tests.desk.desk import CELERY, Desk, Played, customers
from tests.runtime.test_workers import EACH_POOL, broker, office, prefix, rabbitmq
from tests.suite.waiting import wait_until

__all__ = ["broker", "office", "prefix", "rabbitmq"]
DOCUMENTED = {"ping", "stats", "active", "active_queues", "registered", "reserved", "scheduled", "report", "hello"}
OTHERS = sorted(Panel.data.keys() - DOCUMENTED)
MARKER = "quirin@example.com"
EITHER = pytest.mark.parametrize("broker", ["redis", pytest.param("amqp", marks=pytest.mark.long)], indirect=True)


def test_of_all_that_celery_can_be_asked_these_are_answered():
    assert ANSWERS.keys() == DOCUMENTED
    assert ANSWERS.keys() <= Panel.data.keys()


@pytest.mark.parametrize("command", [*OTHERS, MARKER])
def test_each_other_command_of_the_installed_celery_is_refused_and_does_nothing(
    command: str, caplog: pytest.LogCaptureFixture
):
    nothing_to_act_on = object()

    answer = answer_to(command, nothing_to_act_on)

    assert answer["error"].startswith("refused: ")
    assert MARKER not in json.dumps(answer) + caplog.text


@pytest.fixture
def monitor(office: Desk, broker: str) -> Iterator[Celery]:
    """What `celery -A onboarding_worker` and Flower ask with: the configuration's names, and the broker."""
    names = computed(load(office.config))
    with Celery(broker=broker, set_as_current=False) as app:
        app.conf.update({name: names[name] for name in ("control_exchange", "event_exchange", "event_queue_prefix")})
        yield app


@EACH_POOL
def test_a_worker_answers_what_monitors_show_without_a_secret(
    office: Desk, broker: str, monitor: Celery, prefix: str, pool: str
):
    # A second node has the password in its URL.
    office.secret("broker", f"{broker};{broker}")
    worker = office.start("worker", "--pool", pool, "--log-file", "worker.log")
    wait_until(lambda: bool(monitor.control.ping()), "it answers")
    (name,) = monitor.control.inspect().ping()
    inspect = monitor.control.inspect([name])  # it waits for no other

    stats, queues, tasks = (found()[name] for found in (inspect.stats, inspect.active_queues, inspect.registered))
    shown = json.dumps([stats, queues, tasks, inspect.report(), inspect.active(), inspect.reserved()])

    assert stats["pid"] == worker.pid
    assert stats["broker"].keys() == {"transport", "hostname", "port", "virtual_host"}
    assert {queue["name"] for queue in queues} == {prefix + queue for queue in QUEUES}
    assert tasks == sorted(prefix + queue for queue in QUEUES)
    assert "celery:5." in inspect.report()[name]["ok"]
    assert inspect.scheduled()[name] == []
    assert not any(word in shown for word in ("guest", "password", "secrets/", "@127.0.0.1", "settings"))
    # Nobody who asks for more changes anything.
    for command in OTHERS:
        (answer,) = monitor.control.broadcast(command, reply=True, limit=1, timeout=10)
        assert answer[name]["error"].startswith("refused: "), command
    assert inspect.active_queues()[name] == queues
    assert inspect.stats()[name]["pool"] == stats["pool"]
    assert office.end(worker, signal.SIGTERM).code == 0


@EITHER
def test_another_application_on_the_broker_neither_sees_nor_commands_a_worker(
    office: Desk, broker: str, monitor: Celery
):
    worker = office.start("worker", "--log-file", "worker.log")
    wait_until(lambda: bool(monitor.control.ping()), "it answers")
    with Celery(broker=broker, set_as_current=False) as theirs:
        theirs.control.shutdown()
        ours = set(monitor.control.inspect().ping())
        assert not ours & {name for answer in theirs.control.ping() for name in answer}
    assert worker.poll() is None
    assert office.end(worker, signal.SIGTERM).code == 0


def test_a_worker_that_may_not_hear_monitors_works(
    office: Desk, played: Played, broker: str, monitor: Celery, prefix: str
):
    office.environ |= {"ONBOARDING_CONFIG": "onboarding.toml", "ONBOARDING_LOG_FILE": "worker.log"}
    with Connection(broker) as connection, connection.channel() as channel:
        if broker.startswith("amqp"):
            Queue(f"w@here.{prefix}celery.pidbox", exclusive=True).bind(channel).queue_declare()
        else:  # as Redis makes users, without a right to channels
            channel.client.acl_setuser("w", enabled=True, passwords=["+known"], keys=["*"], commands=["+@all"])
            office.secret("broker", broker.replace("redis://", "redis://w:known@"))
        worker = office.start("worker", "--hostname", "w@here", program=CELERY)
        assert office.onboard("import", office.list_of(customers(1))).code == 0
        wait_until(lambda: len(played.sandbox.mailbox) == 1, "the invitation is out")
        assert not monitor.control.ping()
    assert office.end(worker, signal.SIGTERM).code == 0
    assert (office.path / "worker.log").read_text().count("Connected to ") == 1


@EITHER
def test_with_events_a_worker_beats_and_tells_of_its_tasks_by_names_alone(office: Desk, monitor: Celery, prefix: str):
    office.environ |= {"ONBOARDING_CONFIG": "onboarding.toml", "ONBOARDING_LOG_FILE": "worker.log"}
    worker = office.start("worker", "-E", program=CELERY)
    wait_until(lambda: bool(monitor.control.ping()), "it runs")
    came: dict[str, dict[str, Any]] = {}

    def look(event: dict[str, Any]) -> None:
        came[event["type"]] = event
        receiver.should_stop = {"worker-heartbeat", "task-received", "task-succeeded"} <= came.keys()

    with monitor.connection_for_read() as connection:
        receiver = monitor.events.Receiver(connection, handlers={"*": look})
        receiver.should_stop = False
        assert office.onboard("import", office.list_of(customers(1))).code == 0
        receiver.capture(limit=None, timeout=60, wakeup=True)

    received = came["task-received"]
    assert received["name"].removeprefix(prefix) in QUEUES
    assert received["kwargs"] == "{}"
    assert "Quirin" not in json.dumps(came)
    assert "example.com" not in json.dumps(came)
    assert office.end(worker, signal.SIGTERM).code == 0


class Eventer:
    """Keeps what monitors would get."""

    enabled = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, type: str, **fields: Any) -> None:
        self.sent.append((type, fields))


def test_a_heartbeat_is_tried_once():
    """A worker that tries for ever, while its broker hangs, cannot be ended."""
    app, tries = Celery(broker="amqp://", set_as_current=False), []
    dispatcher = Dispatcher(app=app, enabled=False)
    dispatcher.enabled, dispatcher.producer = True, SimpleNamespace(publish=lambda *_, retry, **__: tries.append(retry))

    dispatcher.send("worker-heartbeat", freq=2.0, retry=True)

    assert tries == [False]


TASKS = """
from onboarding_worker.celery import app

app.loader.import_default_modules()
print(*(f"{name}={task.Request}" for name, task in app.tasks.items() if not name.startswith("celery.")))
"""


def test_each_task_is_of_that_kind_and_has_the_name_of_its_queue(desk: Desk):
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\nprefix = "a."\n')
    desk.environ["ONBOARDING_CONFIG"] = "onboarding.toml"
    ended = desk.end(desk.start(program=(sys.executable, "-c", TASKS)))
    kind = f"{Request.__module__}:{Request.__name__}"
    assert set(ended.out.split()) == {f"a.{queue}={kind}" for queue in QUEUES}


def test_of_a_failed_task_monitors_get_the_kind_of_its_exception_alone():
    app, eventer = Celery(set_as_current=False), Eventer()

    @app.task(name="issue")
    def issue() -> None: ...

    headers = {"lang": "py", "task": "issue", "id": "5a1f"}
    message = SimpleNamespace(body=[[], {}, {}], headers=headers, properties={}, delivery_info={})
    failed = Request(message, app=app, eventer=eventer, task=issue, decoded=True)
    with pytest.raises(ValueError, match="quirin") as raised:
        raise ValueError(MARKER)

    failed.send_event("task-started")
    failed.send_event("task-failed", exception=repr(raised.value), traceback=f"… {MARKER}")

    fields = {"uuid": "5a1f"}
    assert eventer.sent == [("task-started", fields), ("task-failed", {**fields, "exception": "ValueError"})]
