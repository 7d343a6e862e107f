"""The engine: one place that knows how SQLite and PostgreSQL want to be spoken to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

# Long enough for another process's write transaction (an import beside a `run`), short enough to be noticed.
SQLITE_BUSY_SECONDS = 30
CONNECT_SECONDS = 10


class Database:
    """Transactions on one database. Not to be carried over a fork: make one in each process."""

    def __init__(self, url: str, *, connections: int = 8) -> None:
        """`connections` bounds the pool: what the process's database threads may use at the same time."""
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            arguments = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
            self.engine = sa.create_engine(url, connect_args=arguments)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = sa.create_engine(
                url,
                pool_size=connections,
                max_overflow=0,
                pool_pre_ping=True,
                connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "onboarding-worker"},
            )
            event.listen(self.engine, "connect", _prepare_postgresql)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that writes nothing: on SQLite it does not wait for a writer."""
        with self.engine.connect().execution_options(onboarding_read=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or rolled back by an exception."""
        with self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def fetch(connection: sa.Connection, query: sa.Executable) -> list[sa.Row[Any]]:
    """All rows of a query whose columns are read by name."""
    return list(connection.execute(query))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction control begins too late (at the first write, which can then fail as locked).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: an attempt that was written down must outlive a power cut, or its call would be made twice.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("onboarding_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # Taking reads an index in small ranges: at the default of 4 the planner reads whole tables instead.
    with connection.cursor() as cursor:
        cursor.execute("SET random_page_cost = 1.1")
        cursor.execute("SET lock_timeout = '15s'")
    connection.commit()
