"""Two at once: one that holds a row's lock, and another that waits for it in a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

# SQLite has no locks on rows: there one writes at a time.
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def blocked(database) -> int:
    """How many wait for another's lock, on PostgreSQL."""
    waits = sa.text(
        "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND datname = current_database()"
    )
    with database.read() as connection:
        return connection.execute(waits).scalar_one()


def wait_until_blocked(database, running: threading.Thread, number: int = 1) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if blocked(database) == number:
            return
        assert running.is_alive(), "it ended without waiting"
        tick.wait(0.01)
    raise AssertionError("nobody waits")


@contextmanager
def waiting(database, call: Callable[[], Any]) -> Iterator[sa.Connection]:
    """Within a transaction that holds what `call` needs: it waits in a thread, and ends after the transaction."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    with database.write() as connection:
        yield connection
        thread.start()
        wait_until_blocked(database, thread)
    thread.join()
    if failures:
        raise failures[0]
