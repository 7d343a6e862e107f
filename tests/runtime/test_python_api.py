"""From an application's own Python: a job appears with its transaction, and workers are woken after the commit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from onboarding_worker.core.model.incoming import Outcome
from onboarding_worker.runtime import python_api as library
from onboarding_worker.settings.load import load
from onboarding_worker.settings.queue_names import ISSUE
from onboarding_worker.wiring.os_user import os_user
from tests.desk.desk import Desk
from tests.desk.own_redis import OwnRedis
from tests.suite.waiting import ENDS_WITHIN, wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "from_your_app.py"
ROW = {"customer_id": "C-1", "email": "ona@example.org", "country": "LT"}
FORKS = """
import os, sys
from onboarding_worker import request_onboarding

def ask(name):
    row = {"customer_id": name, "email": "ona@example.org"}
    sys.stdout.write(request_onboarding(row, source="/app", id=name).outcome + "\\n")
    sys.stdout.flush()

ask("C-1")
child = os.fork()
if not child:
    ask("C-2")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
ask("C-3")
"""


@pytest.fixture
def app(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The desk of an application whose environment names the configuration."""
    desk.environ["ONBOARDING_CONFIG"] = str(desk.config)
    monkeypatch.setenv("ONBOARDING_CONFIG", str(desk.config))
    yield desk
    library.close()


@pytest.fixture
def office(app: Desk, own_redis: OwnRedis, empty_postgresql_url: str) -> Desk:
    """The same with PostgreSQL and a broker."""
    app.secret("database", empty_postgresql_url)
    app.secret("broker", own_redis.url)
    app.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    app.add('[broker]\nurl = { file = "secrets/broker" }\n')
    return app


@pytest.fixture
def session(office: Desk) -> Iterator[Session]:
    """A session of the application's own engine on the worker's database."""
    engine = sa.create_engine(load().database.url)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def run(desk: Desk, *arguments: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=desk.path,
        env={**os.environ, **desk.environ},
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_request_is_taken_once_and_a_second_call_says_so(app: Desk):
    first = library.request_onboarding(ROW, source="/app", id="1")
    again = library.request_onboarding(ROW, source="/app", id="1")
    assert (first.outcome, again.outcome) == (Outcome.TAKEN, Outcome.DUPLICATE)
    assert again.job_id == first.job_id
    gone = library.take_event("onboarding.cancelled", {"customer_id": "C-1"}, source="/app")
    assert gone.job_id == first.job_id
    assert app.onboard("status", "latest", "--json").facts["rows"]["cancelled"] == 1
    entries = [one for one in app.audited() if one["subject"] == "customer C-1"]
    assert [one["action"] for one in entries] == ["onboarding.requested", "onboarding.cancelled"]
    assert {one["actor"] for one in entries} == {f"python, {os_user().full}"}


def test_a_refusal_names_what_is_wrong_and_no_value(app: Desk):
    with pytest.raises(library.EventRefused) as refused:
        library.request_onboarding(ROW | {"email": "secret-address"}, source="/app")
    assert [found.column for found in refused.value.problems] == ["email"]
    assert "email: " in str(refused.value)
    assert "secret" not in f"{refused.value!r}{refused.value}"
    with pytest.raises(library.EventRefused, match="its type is none of"):
        library.take_event("secret.kind", ROW, source="/app")


def test_workers_are_woken_for_a_request_when_its_session_is_committed(session: Session, own_redis: OwnRedis):
    of_this_thread = scoped_session(sessionmaker())
    of_this_thread.registry.set(session)
    with own_redis.client() as redis:
        library.request_onboarding(ROW, source="/app", connection=of_this_thread)
        session.rollback()
        with session.begin_nested():
            library.request_onboarding(ROW, source="/app", connection=session)
        assert session.scalar(sa.text("SELECT count(*) FROM job")) == 1
        assert redis.llen(f"onboarding.{ISSUE}") == 0
        session.commit()
        wait_until(lambda: redis.llen(f"onboarding.{ISSUE}") == 1, "the wake-up is sent")
        session.execute(sa.text("SELECT 1"))
        session.commit()
        library.request_onboarding(ROW | {"customer_id": "C-2"}, source="/app")
        wait_until(lambda: redis.llen(f"onboarding.{ISSUE}") == 2, "the second request sends the second wake-up")


def test_a_request_within_a_connection_vanishes_with_it(session: Session):
    connection = session.connection()
    library.request_onboarding(ROW, source="/app", connection=connection)
    connection.rollback()
    assert session.scalar(sa.text("SELECT count(*) FROM inbox")) == 0


def test_a_process_and_its_child_have_connections_of_their_own(office: Desk):
    assert run(office, "-c", FORKS) == ["taken"] * 3


def test_importing_the_package_loads_nothing(app: Desk):
    loaded = "print([name for name in ('celery', 'sqlalchemy', 'aiohttp') if name in sys.modules])"
    assert run(app, "-c", f"import sys, onboarding_worker; {loaded}") == ["[]"]
    with pytest.raises(AttributeError, match="no attribute 'request_onbording'"):
        library.request_onbording  # noqa: B018


def test_an_application_keeps_its_own_log_and_celery_as_they_are(app: Desk):
    signals = (
        "from celery.signals import setup_logging, celeryd_init, worker_ready\n"
        "from onboarding_worker import request_onboarding\n"
        f"request_onboarding({ROW!r}, source='/app')\n"
        "import logging\n"
        "receivers = [len(signal.receivers) for signal in (setup_logging, celeryd_init, worker_ready)]\n"
        "print(receivers, logging.root.handlers)"
    )
    assert run(app, "-c", signals) == ["[0, 0, 0] []"]


def test_the_example_runs(app: Desk):
    lines = run(app, str(EXAMPLE))
    assert lines[0] == "201"
    assert lines[1].startswith("422 email: ")
    assert lines[2] == "accounts: 1"
    assert app.onboard("status", "latest", "--json").facts["rows"]["waiting"] == 1
