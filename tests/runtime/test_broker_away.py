"""Workers and beat while their broker goes away, or where it is not what they need: a Redis of the test's own."""

import json
import signal
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from onboarding_sandbox.faults import Latency
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.settings.queue_names import ISSUE, SWEEP
from tests.desk.desk import CELERY, Desk, Played, customers
from tests.desk.own_redis import OwnRedis
from tests.desk.sooner import sooner
from tests.suite.waiting import wait_until


@pytest.fixture
def played(play: Callable[..., Played]) -> Played:
    """A provider that is slow enough for the broker to go away meanwhile."""
    return play(latencies=(Latency(timedelta(seconds=1), "idenfy-kyc"),))


@pytest.fixture
def office(desk: Desk, own_redis: OwnRedis, empty_postgresql_url: str) -> Desk:
    desk.secret("database", empty_postgresql_url)
    desk.secret("broker", own_redis.url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.add('[broker]\nurl = { file = "secrets/broker" }\n')
    return desk


def state(office: Desk) -> str:
    return str(office.onboard("status", "latest", "--json").facts["state"])


def test_a_dispatcher_that_outlasts_its_connection_to_the_broker_ends_neither_the_worker_nor_beat_which_says_one_line(
    office: Desk, own_redis: OwnRedis, played: Played
):
    worker, beat = (office.start(command, "--log-file", f"{command}.log") for command in ("worker", "beat"))
    log, beats = office.path / "worker.log", office.path / "beat.log"
    assert office.onboard("import", office.list_of(customers(1))).code == 0
    # The sandbox knows at once. On a busy machine `status` needs longer than the call.
    wait_until(lambda: bool(played.calls("idenfy-kyc")), "a call is in flight")
    own_redis.stop()

    def alive() -> bool:
        assert [process.poll() for process in (worker, beat)] == [None, None]
        return True

    wait_until(lambda: alive() and "Cannot connect to" in log.read_text(), "the worker misses its broker")
    wait_until(lambda: alive() and "the broker cannot be reached (" in beats.read_text(), "beat says so")
    own_redis.start()
    wait_until(lambda: alive() and state(office) == "sent", "the invitation is out")
    assert office.onboard("import", office.list_of(customers(2)), "--again").code == 0
    wait_until(lambda: alive() and len(played.sandbox.mailbox) == 2, "the worker gets wake-ups again")
    for process in (worker, beat):
        assert office.end(process, signal.SIGTERM).code == 0
    assert 'File "' not in beats.read_text()
    assert "Message Error" not in beats.read_text()


def test_what_is_due_is_worked_without_the_broker_also_by_a_worker_that_starts_then(
    office: Desk, own_redis: OwnRedis, played: Played
):
    own_redis.stop()
    worker = office.start("worker", program=sooner(office))
    assert office.onboard("import", office.list_of(customers(1))).code == 0
    wait_until(lambda: state(office) == "sent", "the invitation is out")
    assert len(played.sandbox.mailbox) == 1
    needed = office.onboard("status", "--json").facts["needs_a_person"]
    assert [one["command"] for one in needed] == [hint("doctor", "onboard doctor") or "onboard status"]
    assert office.end(worker, signal.SIGTERM).code == 0


def test_wake_ups_of_others_show_that_it_is_the_scheduler_that_is_missing(office: Desk):
    worker = office.start("worker", program=sooner(office))
    assert office.onboard("import", office.list_of(customers(1))).code == 0

    def missing() -> list[str]:
        return [one["command"] for one in office.onboard("status", "--json").facts["needs_a_person"]]

    wait_until(lambda: missing() == ["onboard beat"], "a wake-up has come to the worker")
    assert office.end(worker, signal.SIGTERM).code == 0


@pytest.mark.parametrize("command", ["worker", "beat", "bus"])
@pytest.mark.parametrize("kind", ["amqp", "redis"])
def test_a_broker_that_refuses_the_log_in_ends_the_start_with_one_line(
    office: Desk, own_redis: OwnRedis, amqp_url: str, command: str, kind: str
):
    place = urlsplit(amqp_url if kind == "amqp" else own_redis.url).netloc.rpartition("@")[2]
    office.secret("broker", f"{kind}://nobody:known@{place}/")
    ended = office.end(office.start(command))
    assert ended.code == 1
    assert "refuses" in ended.lines[-1]
    assert ended.lines[-1].endswith("(it refuses the user or the password): check broker.url")
    assert "known" not in ended.out + ended.err


def test_a_worker_whose_queue_is_somebody_elses_key_works_once_that_is_mended(office: Desk, own_redis: OwnRedis):
    with own_redis.client() as client:
        client.set(f"onboarding.{ISSUE}", "somebody else's")
        worker = office.start("worker", "--log-file", "worker.log", program=sooner(office))
        log = office.path / "worker.log"
        wait_until(lambda: log.exists() and log.read_text().count("Connected to") > 1, "it has tried again")
        client.delete(f"onboarding.{ISSUE}")
    assert office.onboard("import", office.list_of(customers(1))).code == 0
    wait_until(lambda: state(office) == "sent", "it works")
    assert office.end(worker, signal.SIGTERM).code == 0


def test_wake_ups_never_expire_by_a_workers_clock(office: Desk, own_redis: OwnRedis):
    assert office.onboard("import", office.list_of(customers(1))).code == 0
    for decision in ("pause", "resume"):
        assert office.onboard(decision, "latest").code == 0
    beat = office.start("beat")
    with own_redis.client() as client:
        for queue in (f"onboarding.{ISSUE}", f"onboarding.{SWEEP}"):
            wait_until(lambda queue=queue: client.llen(queue) > 0, f"a wake-up is in {queue}")
            assert json.loads(client.lindex(queue, 0))["headers"]["expires"] is None
    office.end(beat, signal.SIGTERM)


def test_a_configuration_that_no_worker_can_work_with_stops_its_start(desk: Desk):
    desk.environ |= {
        "ONBOARDING__DATABASE__URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "ONBOARDING__BROKER__URL": "redis://127.0.0.1:1/0",
        "ONBOARDING__WORKER__LEASE": "20 s",
    }
    worker = desk.run_process("worker")
    assert worker.code == 2
    assert "worker.lease: 20 s is too short for email.timeout" in worker.lines[-1]


@pytest.mark.parametrize(
    ("command", "away"),
    [
        ("worker", "database"),
        ("beat", "broker"),
        pytest.param("worker", "broker", marks=pytest.mark.long),
        pytest.param("beat", "database", marks=pytest.mark.long),
    ],
)
def test_celerys_own_commands_refuse_what_ours_refuse(desk: Desk, command: str, away: str):
    if away == "broker":
        desk.environ["ONBOARDING__DATABASE__URL"] = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    else:
        desk.environ["ONBOARDING__BROKER__URL"] = "redis://127.0.0.1:1/0"
    ours = desk.onboard(command)
    desk.environ["ONBOARDING_CONFIG"] = "onboarding.toml"
    celerys = desk.end(desk.start(command, program=CELERY))
    assert (ours.code, celerys.code) == (2, 2)
    assert f"{away}.url: workers need" in ours.err
    assert ours.lines[-1] == celerys.lines[-1]
