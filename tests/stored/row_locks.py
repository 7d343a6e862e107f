"""Two transactions at once: one holds a row's lock, and the other waits for the lock in a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa


def blocked(database) -> int:
    """The number of PostgreSQL connections that wait for a lock."""
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
        assert running.is_alive(), "the thread ended without waiting"
        tick.wait(0.01)
    raise AssertionError("no transaction waits")


@contextmanager
def waiting(database, call: Callable[[], Any]) -> Iterator[sa.Connection]:
    """A transaction that holds the locks that `call` needs. `call` waits in a thread and ends after the transaction."""
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
