"""`onboard up`: everything in one process on SQLite, for as long as it runs."""

import json
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.cli.exits import Stopped
from tests.cli.events.test_web import EVENT, ask, with_key
from tests.desk.desk import ONBOARD, Desk, Played, customers
from tests.desk.own_redis import OwnRedis
from tests.suite.waiting import ENDS_WITHIN, wait_until


def started(desk: Desk, *arguments: str, program: Sequence[str] = (ONBOARD,)) -> tuple[subprocess.Popen[str], str]:
    """The process, and where it listens."""
    process = desk.start("up", "--bind", "127.0.0.1:0", *arguments, program=program)
    assert process.stderr is not None
    where = ""
    for line in process.stderr:
        if line.startswith("listening on "):
            where = line.split()[-1]
        if line.startswith("working"):
            return process, where
    raise AssertionError("it ended without working")


def ended(process: subprocess.Popen[str]) -> str:
    """Told to end, it does, with 0; what it said until then."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0, said
    return said


def event(number: int) -> dict[str, Any]:
    row = customers(number + 1)[number] | {"customer_id": f"event-{number}", "email": f"e{number}@example.com"}
    return EVENT | {"id": str(number), "data": row}


def test_lists_and_events_are_worked_while_it_runs_and_it_ends_on_a_signal(desk: Desk, played: Played):
    with_key(desk)
    desk.list_of(customers(30), "list.csv")
    process, url = started(desk)
    assert desk.onboard("import", "list.csv").code == 0
    code, answer, _ = ask(f"{url}/events", event(1), Prefer="wait=10")
    assert (code, bool(answer["link"])) == (200, True)
    wait_until(lambda: len(played.message_ids) == 31, "every customer is invited")
    assert ask(f"{url}/readyz")[0] == 200
    said = ended(process)
    assert "ending" in said
    assert "@" not in said
    batches = desk.onboard("status", "--json").facts["batches"]
    assert sorted(batch["rows"]["invited"] for batch in batches) == [1, 30]
    assert set(played.opened.values()) == {1}


def test_no_other_process_works_on_sqlite_and_its_own_list_may_come_in(desk: Desk, played: Played):
    desk.list_of(customers(2), "list.csv")
    process, _ = started(desk)
    beside = desk.onboard("run", "list.csv")
    assert (beside.code, "onboard import" in beside.err) == (2, True)
    assert desk.onboard("up", "--bind", "127.0.0.1:0").code == 2
    ended(process)
    assert desk.onboard("run", "list.csv").code == 0


def test_a_port_in_use_is_reported_before_any_work(desk: Desk, played: Played):
    desk.list_of(customers(2), "list.csv")
    assert desk.onboard("import", "list.csv").code == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = desk.onboard("up", "--bind", f"127.0.0.1:{port}")
    assert failed.code == 2
    assert f"127.0.0.1:{port} cannot be listened on" in failed.err
    assert "Traceback" not in failed.err


@pytest.fixture
def publish(desk: Desk, own_redis: OwnRedis) -> Callable[[dict[str, Any]], None]:
    """Publishes to the bus of the desk's configuration, as another system would."""
    desk.add(f'[bus]\nurl = "{own_redis.url}"\n')

    def send(what: dict[str, Any]) -> None:
        with own_redis.client() as client:
            client.xadd("onboarding.requests", {"event": json.dumps(what)})

    return send


def test_events_come_over_the_bus(desk, played, publish):
    process, _ = started(desk)
    publish(event(1))
    wait_until(lambda: len(played.message_ids) == 1, "the mail is out")
    ended(process)


def test_a_bus_that_does_not_fit_ends_it_with_the_reason(desk: Desk, amqp_url: str):
    desk.secret("bus", amqp_url)
    queue = f"nobody-declared-{uuid.uuid4().hex}"
    desk.add(f'[bus]\nurl = {{ file = "secrets/bus" }}\nqueue = "{queue}"\ndeclare = false\n')
    failed = desk.onboard("up", "--bind", "127.0.0.1:0")
    assert failed.code == 2
    assert f"the queue {queue}" in failed.err
    assert "Traceback" not in failed.err


def test_what_fails_as_it_tells_the_progress_ends_it_and_is_told_but_for_an_outage(
    desk: Desk, played: Played, monkeypatch: pytest.MonkeyPatch
):
    fails = iter([sa.exc.OperationalError("SELECT 1", {}, Exception()), Stopped("the progress cannot be told")])

    def look(_watch: object) -> str:
        raise next(fails)

    monkeypatch.setattr("onboarding_worker.cli.commands.serving._Watch.look", look)
    failed = desk.onboard("up", "--bind", "127.0.0.1:0")
    assert (failed.code, failed.err.splitlines()[-1]) == (1, "the progress cannot be told")
    assert next(fails, None) is None
