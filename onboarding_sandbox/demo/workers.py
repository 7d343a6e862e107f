"""The demo through Celery: a database of its own on PostgreSQL, two workers and `beat`."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from secrets import token_hex
from typing import Any

import psycopg
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from psycopg import sql
from rich.console import Console

from onboarding_sandbox.demo.stage import LIST, CannotPlay, Stage

BROKERS = {"amqp": "amqp://guest:guest@127.0.0.1:5672//", "redis": "redis://127.0.0.1:6379/9"}
SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
PATIENCE = 300.0  # seconds for the whole list
# What workers declare: their queues, and Celery's for tasks that are due later.
QUEUES = ("sweep", "issue", "invite", "tell", *(f"celery_delayed_{level}" for level in range(28)))
EXCHANGES = ("celery_delayed_delivery", *(f"celery_delayed_{level}" for level in range(28)))


@contextmanager
def database(server: str) -> Iterator[str]:
    """The address of a new, empty database on the server, which is removed in the end. Raises CannotPlay."""
    name = f"onboarding_demo_{token_hex(4)}"
    server = server.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            place = connection.info
            user = f"{place.user}:{place.password}" if place.password else place.user
            address = f"postgresql+psycopg://{user}@{place.host}:{place.port}/{name}"
    except (psycopg.Error, ValueError):
        hint = "start one, or name yours: --database postgresql://user:password@host/postgres"
        raise CannotPlay(f"no PostgreSQL in which a database can be made: {hint}") from None
    try:
        yield address
    finally:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


@contextmanager
def unused(broker: str) -> Iterator[None]:
    """Nothing of other workers is on the broker, and in the end nothing of the demo's. Raises CannotPlay."""
    with Connection(broker, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1)
            is_used = _redis(connection).dbsize() if broker.startswith("redis") else _has_queues(connection)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors):
            raise CannotPlay("the broker cannot be reached: start it, or name yours with --broker") from None
    if is_used:
        raise CannotPlay("other workers use this broker: name another virtual host or database with --broker")
    try:
        yield
    finally:
        with Connection(broker, connect_timeout=5) as connection:
            if broker.startswith("redis"):
                _redis(connection).flushdb()  # it was empty before
            else:
                _remove_queues(connection)


def _redis(connection: Connection) -> Any:
    return connection.default_channel.client  # type: ignore[attr-defined]  # that of Redis has it


def _has_queues(connection: Connection) -> bool:
    try:
        connection.channel().queue_declare("sweep", passive=True)
    except connection.channel_errors:  # there is none
        return False
    return True


def _remove_queues(connection: Connection) -> None:
    channel = connection.channel()
    for queue in QUEUES:
        channel.queue_delete(queue)
    for exchange in EXCHANGES:
        channel.exchange_delete(exchange)


def send(stage: Stage, console: Console) -> int:
    """Import the list, and let two workers and `beat` send it. Returns the exit code of the import."""
    if stage.onboard("db", "upgrade").returncode:
        raise CannotPlay("`onboard db upgrade` did not succeed")
    with ExitStack() as processes:
        for name, command in (("worker-1", "worker"), ("worker-2", "worker"), ("beat", "beat")):
            processes.enter_context(stage.started(command, log=stage.folder / f"{name}.log"))
        console.print(f"[bold]onboard import {LIST.name}[/]   (two `onboard worker` and one `onboard beat` send it)")
        imported = stage.onboard("import", LIST.name).returncode
        _wait(stage, console)
    return imported


def _wait(stage: Stage, console: Console) -> None:
    """Until the batch is sent. Raises CannotPlay."""
    ends = time.monotonic() + PATIENCE
    while True:
        facts = status(stage)
        rows = facts["rows"]
        console.print(f"  {rows['invited']:,} of {rows['total']:,} rows are invited, {rows['waiting']:,} wait")
        if facts["state"] in ("sent", "finished"):
            return
        if time.monotonic() > ends:
            raise CannotPlay(f"the list was not sent within {PATIENCE:.0f} s: see {stage.folder}/*.log")
        time.sleep(0.5)


def status(stage: Stage) -> Any:
    """What `onboard status latest --json` prints. Raises CannotPlay."""
    asked = stage.onboard("status", "latest", "--json", capture=True)
    try:
        return json.loads(asked.stdout)
    except ValueError:
        raise CannotPlay(f"`onboard status` ended with {asked.returncode}") from None
