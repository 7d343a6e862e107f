"""A database whose rows tests make, and what is done with them."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.upkeep.takeovers import Takeovers
from onboarding_worker.lists.decisions.store.decisions import Decisions
from tests.stored.post import Post
from tests.stored.recount import expect_true_counts
from tests.stored.shelf import Shelf, customer
from tests.stored.webhook_feed import WebhookFeed
from tests.suite.databases import KeptOpen, not_synced
from tests.suite.of_features import of_features

WITNESSES = of_features("WITNESSES")
OBSERVERS = [witness.observer for witness in WITNESSES]
ON = {"both_databases": ["sqlite", "postgresql"], "postgresql_alone": ["postgresql"]}


@pytest.fixture(scope="session")
def witnessed_template(sqlite_template: Path) -> Path:
    """A migrated SQLite file with the witnesses, to copy."""
    file = sqlite_template.with_name("witnessed.db")
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    for witness in WITNESSES:
        witness.add(database)
    database.close()
    return file


@pytest.fixture
def witnessed_url(sqlite_url: str, witnessed_template: Path, tmp_path: Path) -> str:
    """The test's SQLite database, with the witnesses."""
    shutil.copyfile(witnessed_template, tmp_path / "onboarding.db")
    return sqlite_url


@pytest.fixture(scope="session")
def kept_subscribed(postgresql_url: str) -> Iterator[KeptOpen]:
    kept = KeptOpen(postgresql_url, observers=OBSERVERS)
    yield kept
    kept.close()


@pytest.fixture
def subscribed_sqlite(witnessed_url: str) -> Iterator[Database]:
    """The test's SQLite database. Each change of state must have been told to the observers after the test."""
    opened = not_synced(Database(witnessed_url, observers=OBSERVERS))
    witnesses = [witness(opened) for witness in WITNESSES]
    yield opened
    try:
        untold = [witness.untold() for witness in witnesses]
    finally:
        opened.close()
    assert not any(untold), "a change of state was not told"


@pytest.fixture
def subscribed_postgresql(empty_postgresql_url: str, kept_subscribed: KeptOpen) -> Iterator[Database]:
    with kept_subscribed.lent() as opened:
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs on SQLite; with the mark `both_databases` on PostgreSQL too, with `postgresql_alone` only there.

    The marks are for tests of what differs: locks and what happens at once, claims, limits, and statements. Each
    statement of the worker runs on PostgreSQL in one test at least. Further cases of a decision say nothing new there.
    """
    marked = (mark.name for mark in metafunc.definition.iter_markers() if mark.name in ON)
    if "stored_on" in metafunc.fixturenames and (closest := next(marked, None)):
        metafunc.parametrize("stored_on", ON[closest])


@pytest.fixture
def stored_on() -> str:
    return "sqlite"


@pytest.fixture
def url(request: pytest.FixtureRequest, stored_on: str) -> str:
    """A migrated database without rows."""
    return str(request.getfixturevalue("sqlite_url" if stored_on == "sqlite" else "empty_postgresql_url"))


@pytest.fixture
def database(request: pytest.FixtureRequest, stored_on: str) -> Iterator[Database]:
    """A migrated database without rows. After the test, each change of state must have been told, and the kept
    counts of each batch must be those of its rows."""
    opened: Database = request.getfixturevalue(f"subscribed_{stored_on}")
    yield opened
    expect_true_counts(opened)


@pytest.fixture
def shelf(database: Database, keyring: Keyring, clock: Callable) -> Shelf:
    return Shelf(database, keyring, clock)


@pytest.fixture
def decide(database: Database) -> Decisions:
    """The decisions of an operator."""
    return Decisions(database)


@pytest.fixture
def failover(shelf: Shelf) -> Takeovers:
    """Moves the rows of the shelf's account to two other accounts: au and us."""
    shelf.budgets.ensure(["au", "us"])
    return Takeovers(routes=[], rules={}, lifetimes={}, database=shelf.database)


@pytest.fixture
def feed(shelf: Shelf) -> WebhookFeed:
    return WebhookFeed(shelf)


@pytest.fixture
def ona(shelf: Shelf) -> Shelf:
    """The shelf, one minute after Ona was invited."""
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=1)
    return shelf


@pytest.fixture
def in_parallel() -> Callable:
    """Runs the same function in several threads at once. Returns the results."""

    def run(call: Callable[[], Any], *, times: int) -> list[Any]:
        with ThreadPoolExecutor(times) as threads:
            return [done.result() for done in [threads.submit(call) for _ in range(times)]]

    return run


@pytest.fixture
def post(shelf: Shelf, keyring: Keyring) -> Post:
    return Post(shelf, keyring)
