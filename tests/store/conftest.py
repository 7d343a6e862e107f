from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.store.ear import Ear
from tests.store.shelf import Shelf, customer
from tests.store.witness import SUBSCRIPTIONS, Witness
from worker.foundation.keyring import Keyring
from worker.store.base.database import Database
from worker.store.maintenance.takeover import Failover
from worker.store.operators.decisions import Decisions


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A migrated database without a row. After the test, others must have been told of all that happened in it."""
    fixture = "sqlite_url" if request.param == "sqlite" else "empty_postgresql_url"
    opened = Database(request.getfixturevalue(fixture), subscriptions=SUBSCRIPTIONS)
    witness = Witness(opened) if opened.is_sqlite else None
    yield opened
    unpublished = witness.unpublished() if witness else {}
    opened.close()
    assert not unpublished, "store.outbox was not told of it"


@pytest.fixture
def shelf(database: Database, keyring: Keyring, clock: Callable) -> Shelf:
    return Shelf(database, keyring, clock)


@pytest.fixture
def decide(database: Database) -> Decisions:
    """What a person may decide."""
    return Decisions(database)


@pytest.fixture
def failover(shelf: Shelf) -> Failover:
    """Moves the rows of the shelf's account to others: au and us."""
    shelf.budgets.ensure(["au", "us"])
    return Failover(shelf.database)


@pytest.fixture
def ear(shelf: Shelf) -> Ear:
    return Ear(shelf)


@pytest.fixture
def ona(shelf: Shelf) -> Shelf:
    """The shelf, once Ona was invited."""
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=1)
    return shelf


@pytest.fixture
def beside() -> Callable:
    """Calls the same thing in several threads at once; what each answered."""

    def run(call: Callable[[], Any], *, times: int) -> list[Any]:
        with ThreadPoolExecutor(times) as threads:
            return [done.result() for done in [threads.submit(call) for _ in range(times)]]

    return run
