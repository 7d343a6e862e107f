"""The sides that are compared. Each is started as its user would start it, and measured in the same way.

The rows are in the database, and the tasks in the broker, before a side starts. The start-up is not measured: the
measurement begins some seconds after the first call, and ends when the last result is stored.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from benchmarks import naive, product
from benchmarks.processes import ONBOARD, Failed, Started, cpu_seconds, importable, running
from benchmarks.provider import Provider
from benchmarks.rivals.start import PROCESSES, Rival
from benchmarks.services import Server, database_url, driver_url, number

# Seconds after the first call that are not measured (at most half of the calls): each side is at its pace then.
WARM_UP = 5.0
LOOK = 0.02  # seconds between two looks at the provider's count
PATIENCE = 60  # a side without a call for this many seconds is stuck
CONFIGURATION = """
base_url = "{url}"
limits = []
concurrency = {places}
"""


@dataclass(frozen=True)
class Figure:
    """Calls a second, and processor seconds for 1,000 calls: of the side itself, and of the database's backends."""

    rate: float
    cpu: float | None
    database_cpu: float | None = None


@dataclass
class Stage:
    """The services that all sides use. `places`: calls in flight of one side, for any number of processes."""

    folder: Path
    provider: Provider
    server: Server
    broker: str
    places: int
    _prepared: dict[tuple[str, int], Path] = field(default_factory=dict)
    _databases: dict[int, str] = field(default_factory=dict)

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def list_of(self, rows: int, kind: str) -> Path:
        """A folder with a configuration and an imported list, in SQLite or in the database of `database_of`."""
        if (kind, rows) not in self._prepared:
            folder, url = self.new_folder(), {}
            if kind == "postgresql":
                self._databases[rows] = self.server.make()
                url = {"database": database_url(self._databases[rows])}
            product.configure(folder, CONFIGURATION.format(url=self.provider.url, places=self.places), **url)
            product.import_list(folder, rows, channel="none")
            if kind == "postgresql":
                product.tidy(self._databases[rows])
            self._prepared[kind, rows] = folder
        return self._prepared[kind, rows]

    def database_of(self, rows: int) -> str:
        return self._databases[rows]


def measured(
    stage: Stage, rows: int, processes: Sequence[Started], *, stored: Callable[[], int], database: str = ""
) -> Figure:
    """The figure of a side that was just started, measured until all of its rows are stored. Raises Failed."""
    provider = stage.provider
    began: tuple[int, float, float | None, dict[int, float]] | None = None
    answered, moved_at = 0, time.perf_counter()
    called_at: float | None = None
    pids = [process.pid for process in processes]

    def spent_in_database() -> dict[int, float]:
        return stage.server.spent(database) if database else {}

    while answered < rows:
        time.sleep(LOOK)
        before, answered, now = answered, provider.answered(), time.perf_counter()
        if answered > before:
            moved_at = now
        elif now - moved_at > PATIENCE:
            raise Failed(f"{answered} of {rows} calls, then none; {processes[0].last_output()}")
        else:
            for process in processes:
                process.check()
        if called_at is None and answered:
            called_at = now
        is_warm = called_at is not None and (now - called_at >= WARM_UP or answered >= rows // 2)
        if began is None and is_warm:
            began = answered, now, cpu_seconds(pids), spent_in_database()
    while stored() < rows:
        if time.perf_counter() - moved_at > PATIENCE:
            raise Failed(f"{stored()} of {rows} results are stored, and no more; {processes[0].last_output()}")
        time.sleep(LOOK)
    if began is None:
        raise Failed("a side needs rows to be measured")
    first, began_at, cpu, backends = began
    seconds, calls = time.perf_counter() - began_at, rows - first
    spent, after = cpu_seconds(pids), spent_in_database()
    in_database = sum(after[pid] - backends.get(pid, 0.0) for pid in after)
    return Figure(
        calls / seconds,
        (spent - cpu) * 1000 / calls if spent and cpu else None,
        in_database * 1000 / calls if after else None,
    )


def bare(stage: Stage, rows: int) -> Figure:
    """A loop that only makes calls."""
    stage.provider.forget()
    folder = stage.new_folder()
    command = [sys.executable, "-m", "benchmarks.bare", stage.provider.url, str(rows), str(stage.places)]
    with running(command, folder=folder) as loop:
        # It stores nothing: an answered call counts as stored.
        return measured(stage, rows, [loop], stored=lambda: rows)


def naive_tasks(stage: Stage, rows: int, *, keep: bool = False) -> Figure:
    """One Celery task for each customer on two processes."""

    def enqueue(_environment: Mapping[str, str]) -> None:
        naive.app.conf.broker_url = stage.broker
        for row in range(1, rows + 1):
            naive.issue.delay(f"C-{row}")

    command = [sys.executable, "-m", "celery", "-A", "benchmarks.naive", "worker", "-c", "2"]
    return _tasks(stage, rows, [command], enqueue, prefix="NAIVE", more={"NAIVE_KEEP": "1" if keep else ""})


def rival_tasks(stage: Stage, rows: int, *, rival: Rival) -> Figure:
    """One task for each customer with another task queue, on two processes."""

    def enqueue(environment: Mapping[str, str]) -> None:
        made = subprocess.run(
            rival.enqueue(rows), env={**os.environ, **importable(), **environment}, capture_output=True, text=True
        )
        if made.returncode:
            raise Failed(f"{rival.title}: the tasks cannot be made: {made.stderr[-500:]}")

    more = {"RIVAL_PLACES": str(max(stage.places // PROCESSES, 1))}
    return _tasks(stage, rows, rival.commands(stage.places), enqueue, prefix="RIVAL", more=more)


def _tasks(
    stage: Stage,
    rows: int,
    commands: Sequence[Sequence[str]],
    enqueue: Callable[[Mapping[str, str]], None],
    *,
    prefix: str,
    more: Mapping[str, str],
) -> Figure:
    """The figure of a task queue whose tasks store the tokens in a table of customers."""
    folder, name = stage.new_folder(), stage.server.make()
    environment = {
        f"{prefix}_BROKER": stage.broker,
        f"{prefix}_DATABASE": driver_url(name),
        f"{prefix}_URL": stage.provider.url,
        f"{prefix}_KEY": Fernet.generate_key().decode(),
        **more,
    }
    with psycopg.connect(driver_url(name), autocommit=True) as connection:
        connection.execute(naive.SCHEMA)
        connection.execute(
            "insert into customer (id, email, country)"
            " select 'C-' || n, 'c' || n || '@example.com', 'DE' from generate_series(1, %s) n",
            [rows],
        )
        enqueue(environment)
        product.tidy(name)
        stage.server.settle()
        stage.provider.forget()

        def stored() -> int:
            return number(connection, "select count(*) from customer where token is not null")

        with ExitStack() as exits:
            workers = [
                exits.enter_context(running(command, folder=folder, environment=environment)) for command in commands
            ]
            figure = measured(stage, rows, workers, stored=stored, database=name)
        expect(rows, {"calls": stage.provider.answered(), "tokens": stored()})
    stage.server.drop(name)
    return figure


def on_sqlite(stage: Stage, rows: int) -> Figure:
    """`onboard run`, one process."""
    folder = stage.new_folder() / "run"
    shutil.copytree(stage.list_of(rows, "sqlite"), folder)
    stage.server.settle()
    stage.provider.forget()
    with closing(sqlite3.connect(folder / "onboarding.db", timeout=30)) as connection:

        def stored() -> int:
            return int(connection.execute("select count(*) from session").fetchone()[0])

        with running([*ONBOARD, "run", product.LIST], folder=folder) as run:
            figure = measured(stage, rows, [run], stored=stored)
        _verify(stage, rows, lambda query: connection.execute(query).fetchone()[0])
    shutil.rmtree(folder)
    return figure


def on_postgresql(stage: Stage, rows: int, *, workers: int) -> Figure:
    """`workers` processes of `onboard worker`, and `onboard beat`, which wakes them."""
    folder = stage.list_of(rows, "postgresql")
    name = stage.server.make(like=stage.database_of(rows))
    environment = {"ONBOARDING__DATABASE__URL": database_url(name), "ONBOARDING__BROKER__URL": stage.broker}
    stage.server.settle()
    stage.provider.forget()
    with (
        product.workers(workers, "beat", folder=folder, environment=environment) as processes,
        psycopg.connect(driver_url(name), autocommit=True) as connection,
    ):
        figure = measured(
            stage, rows, processes, stored=lambda: number(connection, "select count(*) from session"), database=name
        )
        _verify(stage, rows, lambda query: number(connection, query))
    stage.server.drop(name)
    return figure


def _verify(stage: Stage, rows: int, number: Callable[[str], int]) -> None:
    """Raise Failed unless every row was issued exactly once, and by its own call."""
    facts = {
        "calls": stage.provider.answered(),
        "issued rows": number("select count(*) from job where state = 'issued'"),
        "customers with a live session": number(
            "select count(distinct customer_id) from session where state = 'waiting' and length(encrypted) > 0"
        ),
        "references": number("select count(distinct reference) from session"),
    }
    expect(rows, facts)


def expect(rows: int, facts: dict[str, int]) -> None:
    wrong = [f"{count} {what}" for what, count in facts.items() if count != rows]
    if wrong:
        raise Failed(f"of {rows} rows: {', '.join(wrong)}")
