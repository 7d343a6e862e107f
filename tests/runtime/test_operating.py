"""A worker as whoever is on call meets it: what it waits for, what it says, and how it ends."""

import signal
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_sandbox.faults import Latency
from onboarding_worker.core.database.database import Database
from tests.desk.desk import Desk, Played, customers
from tests.desk.own_redis import OwnRedis
from tests.desk.sooner import sooner
from tests.suite.waiting import wait_until

NUMBER = 1000  # a hundred seconds of calls: on a busy machine `status` and the signal need some of them


@pytest.fixture
def played(play: Callable[..., Played]) -> Played:
    """A provider whose calls are in flight long enough to be ended in the middle."""
    return play(latencies=(Latency(timedelta(milliseconds=500), "idenfy-kyc"),))


@pytest.fixture
def url(make_postgresql: Callable[[], str]) -> str:
    return make_postgresql()


@pytest.fixture
def office(desk: Desk, own_redis: OwnRedis, url: str) -> Desk:
    """A desk with a Redis of its own, and a database that was not migrated."""
    desk.secret("database", url)
    desk.secret("broker", own_redis.url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.change("concurrency = 100", "concurrency = 5")
    desk.add('[broker]\nurl = { file = "secrets/broker" }\n')
    return desk


def said(office: Desk, text: str) -> int:
    log = office.path / "worker.log"
    return log.read_text().count(text) if log.exists() else 0


def rows(office: Desk) -> dict[str, int]:
    found: dict[str, int] = office.onboard("status", "latest", "--json").facts["rows"]
    return found


def test_a_worker_waits_for_its_broker_and_its_schema_and_stops_at_a_newer_one(
    office: Desk, own_redis: OwnRedis, played: Played, url: str
):
    own_redis.stop()
    worker = office.start("worker", "--log-file", "worker.log", program=sooner(office))
    wait_until(lambda: said(office, "Cannot connect to") > 0, "it says that it waits for the broker")
    own_redis.start()
    beat = office.start("beat")
    wait_until(lambda: said(office, "run `onboard db upgrade`") > 0, "it says what it waits for")
    assert office.onboard("db", "upgrade").code == 0
    wait_until(lambda: said(office, "the database is ready: the worker claims rows") > 0, "it begins by itself")
    # Although a wake-up came each second: at most once more, if one came between two of the upgrade's migrations.
    assert said(office, "run `onboard db upgrade`") <= 2
    assert office.onboard("import", office.list_of(customers(2))).code == 0
    wait_until(lambda: len(played.sandbox.mailbox) == 2, "it works")

    database = Database(url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    wait_until(lambda: said(office, "which is newer than this release") > 0, "it logs that its release is too old")
    with own_redis.client() as client:
        wait_until(lambda: client.llen("onboarding.sweep") > 1, "it leaves wake-ups to other workers")
    assert worker.poll() is None
    assert said(office, "draining: finishing calls in flight, claiming no more work") == 1
    assert office.onboard("import", office.list_of(customers(3), "more.csv")).code == 2
    for process in (worker, beat):
        assert office.end(process, signal.SIGTERM).code == 0


@pytest.mark.parametrize(
    ("pool", "by"),
    [
        ("threads", signal.SIGQUIT),
        ("prefork", signal.SIGTERM),
        pytest.param("threads", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("threads", signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_a_worker_that_ends_releases_at_once_what_it_has_not_called_for(
    office: Desk, own_redis: OwnRedis, played: Played, pool: str, by: signal.Signals
):
    assert office.onboard("db", "upgrade").code == 0
    assert office.onboard("import", office.list_of(customers(NUMBER))).code == 0
    how = ["--pool", pool, "--log-file", "worker.log"]
    worker = office.start("worker", *how, program=sooner(office))  # it sweeps by itself: beat would only cost its start
    wait_until(lambda: rows(office)["working"] > 5, "calls are in flight, and more rows are claimed")
    ended = office.end(worker, by)
    assert ended.code == 0
    left = rows(office)
    assert (left["working"], left["held"], left["failed"]) == (0, 0, 0)
    assert left["waiting"] > 0
    assert left["issued"] + left["invited"] == played.opened.total()  # what was in flight was written
    assert "NotImplementedError" not in ended.err + ended.out + (office.path / "worker.log").read_text()
