"""A database that hangs with its network alive is given up."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast.on_loop import on_loop
from onboarding_worker.core.database.outages import reason
from tests.simulated.hanging import HangingServer, hanging
from tests.suite.waiting import wait_until

SHORT = timedelta(milliseconds=300)


@pytest.fixture
def behind(postgresql_url: str) -> Iterator[tuple[Database, HangingServer]]:
    with hanging(postgresql_url) as (url, server):
        database = Database(url, connections=2)
        yield database, server
        server.go_on()
        database.close()


def ask(database: Database, statement: str = "SELECT 1") -> Any:
    with database.write() as connection:
        return connection.execute(sa.text(statement)).scalar_one_or_none()


@pytest.fixture(params=["in a thread", "on a loop"])
def runs(request: pytest.FixtureRequest) -> Any:
    """How the blocking work is run: both ways of `engine.store_calls`."""
    return request.param


def outcome(work: Any, *, server: HangingServer, runs: str) -> Any:
    """The result or the exception of blocking work. It fails the test, instead of blocking it, if it never ends."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(work() if runs == "in a thread" else asyncio.run(on_loop(work)))
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: not thread.is_alive(), "the database is given up")
    finally:
        server.go_on()
        thread.join()
    return ended[0]


def test_a_statement_that_is_not_answered_is_an_outage_and_the_pool_begins_anew(behind, runs):
    database, server = behind
    database.give_up_after(SHORT)
    with database.read() as first, database.read() as second:
        pids = {each.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() for each in (first, second)}
    server.hang()
    error = outcome(lambda: ask(database), server=server, runs=runs)
    assert isinstance(error, sa.exc.OperationalError)
    assert reason(error) == "the database has not answered for 0.3 s"
    with database.read() as first, database.read() as second:
        new = {each.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() for each in (first, second)}
    assert not new & pids


def test_a_commit_that_is_not_answered_is_an_outage(behind, runs):
    database, server = behind
    database.give_up_after(SHORT)

    def work() -> None:
        with database.write() as connection:
            connection.execute(sa.text("SELECT 1"))
            server.hang()

    assert isinstance(outcome(work, server=server, runs=runs), sa.exc.OperationalError)


def test_a_connection_that_is_given_up_leaves_nothing_to_be_warned_of_later(behind, caplog):
    database, server = behind
    database.give_up_after(SHORT)
    ask(database)
    gc.collect()
    caplog.clear()  # what other tests have left
    server.hang()
    # Its first statement waits with the BEGIN. The error is not kept: it would keep the connection.
    assert isinstance(outcome(lambda: ask(database), server=server, runs="on a loop"), sa.exc.OperationalError)
    gc.collect()
    assert not [record.getMessage() for record in caplog.records if record.name.startswith("psycopg")]


def test_an_error_of_the_server_stays_what_it_is(behind, runs):
    database, _ = behind
    database.give_up_after(SHORT)
    with pytest.raises(sa.exc.OperationalError) as caught:
        ask(database, "SELECT nothing")
    assert "column" in reason(caught.value)


def test_an_error_that_is_an_outage_to_the_driver_keeps_its_code_and_its_connection(behind, runs):
    """Locks that are not granted and deadlocks are such errors too: their codes decide what follows."""
    database, _ = behind
    database.give_up_after(timedelta(seconds=30))
    pid = ask(database, "SELECT pg_backend_pid()")
    with pytest.raises(sa.exc.OperationalError) as caught:
        ask(database, "SELECT pg_cancel_backend(pg_backend_pid())")
    assert caught.value.orig.sqlstate == "57014"
    assert ask(database, "SELECT pg_backend_pid()") == pid
