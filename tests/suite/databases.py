"""The databases of one test process on the PostgreSQL server: made once, emptied between tests, dropped at the end.

A test process that is killed drops nothing. Each process holds an advisory lock as long as it lives: databases whose
lock is free are dropped by the processes that come after it.
"""

import re
import secrets
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import ACT
from onboarding_worker.core.database.database import Database

LOCKS = 0x6F6E6264  # apart from all other advisory locks of the server's database
NAME = re.compile(r"onboarding_test_([0-9a-f]{7})_\d+")
LEFT = "SELECT datname FROM pg_database WHERE starts_with(datname, 'onboarding_test_') ORDER BY oid"
MOST_LEFT = 5  # of those that killed processes left: a start must not wait for all of a long day
TAKE_BACK = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid();
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC
"""


def not_synced(database: Database) -> Database:
    """The database, whose commits do not wait for the disk on SQLite: no test ends the machine."""
    if database.is_sqlite:
        database.need_not_last()
    return database


class KeptOpen:
    """One Database over a PostgreSQL database, for all tests of the process, one after the other.

    A new connection costs the server and us more than most tests do: the server reads its catalogue anew for each.
    """

    def __init__(self, url: str, **how: Any) -> None:
        self._database = Database(url, **how)
        self._connections: list[psycopg.Connection[Any]] = []
        sa.event.listen(self._database.engine, "connect", lambda connection, _: self._connections.append(connection))

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """The database, with options and statements' listeners of the test's own. It need not be closed."""
        self._connections = [connection for connection in self._connections if not connection.closed]
        # A test begins with one connection at most, as with a database of its own: which is used next is known.
        if len(self._connections) > 1 or any(map(_has_news, self._connections)):
            self.close()
        engine = self._database.engine
        yield self._database.acting(engine.get_execution_options()[ACT])
        if engine.pool.checkedout():  # a test that failed has left a transaction open
            self.close()

    def close(self) -> None:
        self._database.close()


@contextmanager
def in_encoding(server: str, encoding: str) -> Iterator[str]:
    """The URL of an empty database of this encoding on the server of a URL. Dropped at the end."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"onboarding_in_{encoding.lower()}_{secrets.token_hex(4)}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        try:
            yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def _has_news(idle: psycopg.Connection[Any]) -> bool:
    """Whether the server has said something on a connection that asked nothing: that it ends the connection."""
    readable, _, _ = select.select([idle.fileno()], [], [], 0)
    return bool(readable)


class Databases:
    """Empty databases: `take` one, and `give_back` it. To make and to drop one is dear, to empty it is not."""

    def __init__(self, server: str) -> None:
        self._url = sa.make_url(server)
        self._engine = sa.create_engine(
            self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args={"connect_timeout": 5}
        )
        self._alive: sa.Connection | None = None  # holds this process's lock
        self._mine = secrets.randbits(28)
        self._made: list[str] = []
        self._free: list[str] = []

    def ping(self) -> None:
        """Raises what the driver raises if the server cannot be reached."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    def take(self) -> str:
        """The URL of a database without a table."""
        if self._free:
            return self._free.pop()
        if self._alive is None:
            self._alive = self._engine.connect()
            while not _lock(self._alive, self._mine):
                self._mine = secrets.randbits(28)
            self._drop_left()
        name = f"onboarding_test_{self._mine:07x}_{len(self._made)}"
        self._alive.exec_driver_sql(f"CREATE DATABASE {name}")
        # No test ends the machine, so commits need not wait for the disk.
        self._alive.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
        self._made.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def give_back(self, url: str) -> None:
        """Empty it for the next test. Its connections are ended."""
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(TAKE_BACK)
        self._free.append(url)

    @contextmanager
    def lent(self) -> Iterator[str]:
        url = self.take()
        yield url
        self.give_back(url)

    def close(self) -> None:
        """Drop all."""
        if self._alive is not None:
            for name in self._made:
                _drop(self._alive, name)
            self._alive.close()
        self._engine.dispose()

    def _drop_left(self) -> None:
        """Drop some databases whose processes are gone."""
        with self._engine.connect() as connection:
            found = [name for (text,) in connection.exec_driver_sql(LEFT) if (name := NAME.fullmatch(text))]
            gone = {owner for owner in {int(name[1], 16) for name in found} if _lock(connection, owner)}
            for name in [name for name in found if int(name[1], 16) in gone][:MOST_LEFT]:
                _drop(connection, name[0])


def _lock(connection: sa.Connection, owner: int) -> bool:
    """Whether this connection has the lock of this process now."""
    locked: bool = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCKS}, {owner})").scalar_one()
    return locked


def _drop(connection: sa.Connection, name: str) -> None:
    connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
