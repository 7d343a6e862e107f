"""The services of a benchmark: scratch databases on the running PostgreSQL server, a private Redis and RabbitMQ."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks.processes import Failed, cpu_seconds, running, wait_for
from trials.servers import Missing, RabbitMq, answers, free_port

SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


class Server:
    """Scratch databases on the PostgreSQL server; all are dropped at the end."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._made: list[str] = []

    @property
    def version(self) -> str:
        return f"PostgreSQL {self._connection.info.server_version // 10000}"

    def make(self, like: str | None = None) -> str:
        """The name of a new database: empty, or a copy of the database `like`."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("create database {}").format(sql.Identifier(name))
        if like is not None:
            statement += sql.SQL(" template {}").format(sql.Identifier(like))
        self._connection.execute(statement)
        self._made.append(name)
        return name

    def drop(self, name: str) -> None:
        self._connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        self._made.remove(name)

    def settle(self) -> None:
        """Run a checkpoint, so that the next side does not pay for writes of earlier sides."""
        self._connection.execute("checkpoint")

    def backends(self, name: str) -> list[int]:
        """The ids of the server's processes for this database; empty if they are not processes of this machine."""
        rows = self._connection.execute("select pid from pg_stat_activity where datname = %s", [name])
        return [pid for (pid,) in rows if _is_postgres(pid)]

    def spent(self, name: str) -> dict[int, float]:
        """The processor seconds so far of each of them."""
        return {pid: cpu_seconds([pid]) or 0.0 for pid in self.backends(name)}

    def commits(self, name: str) -> int:
        """The transactions committed in this database so far. The server updates the count about once a second."""
        return number(self._connection, "select xact_commit from pg_stat_database where datname = %s", name)

    def close(self) -> None:
        for name in list(self._made):
            self.drop(name)
        self._connection.close()


def _is_postgres(pid: int) -> bool:
    # A server in a container or on another machine has other process ids: here the id belongs to another process.
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("postgres")
    except OSError:
        return False


def number(connection: psycopg.Connection, query: LiteralString, *values: object) -> int:
    """What a query counts."""
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0


def database_url(name: str) -> str:
    """The address of a database as the configuration spells it."""
    return SERVER.rsplit("/", 1)[0] + f"/{name}"


def driver_url(name: str) -> str:
    """The address of a database as psycopg spells it."""
    return database_url(name).replace("+psycopg", "")


@contextmanager
def postgresql() -> Iterator[Server]:
    """The running PostgreSQL server. Raises Failed if there is none."""
    try:
        connection = psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        raise Failed("PostgreSQL cannot be reached; set TEST_POSTGRESQL_URL to its address") from None
    server = Server(connection)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The address of a private Redis without persistence, so that no other queue is touched. Raises Failed."""
    program = shutil.which("redis-server")
    if program is None:
        raise Failed("redis-server is not installed; it is the broker of the Celery sides")
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running([program, *arguments], folder=folder):
        wait_for("redis-server", lambda: answers(port))
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """The address of a private RabbitMQ. Raises Failed."""
    try:
        with RabbitMq(folder) as server:
            yield server.url
    except Missing as error:
        raise Failed(str(error)) from None
