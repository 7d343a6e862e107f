"""Fixtures for all tests: a clock that tests move, a key ring, and the services that tests need.

A service that cannot be reached skips the tests that need it, with the reason; with REQUIRE_SERVICES=1 it fails them.
"""

import asyncio
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.foundation.garbage import tune_gc
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.http.event_loop import new_event_loop
from tests.simulated.statements import STATEMENTS
from tests.suite.accepted_sockets import close_what_is_not_attached
from tests.suite.databases import Databases
from tests.suite.locks import out_of_order
from tests.suite.order import Portions, long_first

# The duration of an example depends on the machine, so there is no deadline. EXAMPLES=1000 looks longer.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("EXAMPLES", "25")),
)
settings.load_profile("untimed")

# The rows of a database, and an operator's directory. A folder's conftest.py has what only its own tests use.
pytest_plugins = ("tests.stored.fixtures", "tests.desk.fixtures", "tests.desk.listener")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")
AMQP = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")


# Bytecode is kept, even if PYTHONDONTWRITEBYTECODE is set, as in containers: otherwise each test process would compile
# all tests, in ten seconds, and each process that tests start all of worker/.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A file with a secret that other users can read refuses the start, and tests write such files.
os.umask(0o077)
close_what_is_not_attached()


@sa.event.listens_for(sa.Engine, "engine_connect")
def share_statements(connection: sa.Connection) -> None:
    connection.execution_options(compiled_cache=STATEMENTS)


@pytest.hookimpl(tryfirst=True)  # before xdist adds the groups' names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long_first(items)


# Thousands of tests are objects too: garbage is not looked for while they are loaded, and later not among them.
gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    tune_gc()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`, as `make test` has it, the tests are given out in our order."""
    return Portions(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the worker's loop, where they have none of their own."""
    return {"worker": new_event_loop}


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **step: float) -> datetime:
        self.now += timedelta(**step)
        return self.now


def service_or_skip(name: str, reach: Callable[[], Any]) -> None:
    """Return if `reach` works; else skip, or fail if services are required. Messages do not show addresses."""
    try:
        reach()
    except Exception as error:
        reason = f"{name} cannot be reached ({type(error).__name__})"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"{reason}, and REQUIRE_SERVICES=1", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def locks_in_order() -> Iterator[None]:
    """Whatever a test does, its transactions lock rows in the order of `locks.ORDER`."""
    out_of_order.clear()
    yield
    assert out_of_order == []


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring([new_key()])


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis database for tests. Each test removes its own keys."""
    import redis

    def ping() -> None:
        with redis.Redis.from_url(REDIS, socket_connect_timeout=2) as client:
            client.ping()

    service_or_skip("Redis", ping)
    return REDIS


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A RabbitMQ virtual host for tests. Each test removes its own queues."""
    from kombu import Connection

    def connect() -> None:
        with Connection(AMQP, connect_timeout=2) as connection:
            connection.connect()

    service_or_skip("RabbitMQ", connect)
    return AMQP


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[Databases]:
    """This test process's databases on the PostgreSQL server."""
    databases = Databases(POSTGRESQL)
    service_or_skip("PostgreSQL", databases.ping)
    yield databases
    databases.close()


@pytest.fixture
def make_postgresql(postgresql_databases: Databases) -> Iterator[Callable[[], str]]:
    """Makes databases without a table, each named by its URL. A test that needs none but ours has `postgresql_url`."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(postgresql_databases.lent())


@pytest.fixture(scope="session")
def postgresql_url(postgresql_databases: Databases) -> str:
    """A migrated database for this test process. A test that uses it without `database` empties it itself."""
    url = postgresql_databases.take()
    migrated = Database(url)
    schema.upgrade(migrated)
    migrated.close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrated = Database(f"sqlite:///{file}")
    schema.upgrade(migrated)
    migrated.close()  # the last connection writes the write-ahead log into the file
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database for one test."""
    shutil.copyfile(sqlite_template, tmp_path / "onboarding.db")
    return f"sqlite:///{tmp_path / 'onboarding.db'}"


@pytest.fixture(scope="session")
def empty_postgresql(postgresql_url: str) -> Iterator[Callable[[], None]]:
    """Removes every row of the test process's PostgreSQL database."""
    # Some tests make the server end connections: such a connection is replaced.
    engine = sa.create_engine(postgresql_url, pool_size=1, pool_pre_ping=True, isolation_level="AUTOCOMMIT")
    # For a few rows DELETE needs a tenth of TRUNCATE's time, which makes new files for all tables. Sent as one.
    deletes = ";".join(str(sa.delete(table)) for table in reversed(all_tables()))
    # The audit log lets nobody delete its entries, who does not switch its triggers off.
    new_head = "INSERT INTO audit_head VALUES (1, 0, repeat('0', 64), 0, repeat('0', 64), NULL)"
    deletes = f"SET session_replication_role = replica; {deletes}; {new_head}; RESET session_replication_role"

    def empty() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(deletes)

    yield empty
    engine.dispose()


@pytest.fixture
def empty_postgresql_url(postgresql_url: str, empty_postgresql: Callable[[], None]) -> str:
    """The test process's PostgreSQL database, migrated and empty."""
    empty_postgresql()
    return postgresql_url
