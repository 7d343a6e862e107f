"""The database under the simulation: the real one, whose clock is the world's, and whose commits can be struck.

Calls are made one after the other, so nothing here waits for a lock. On SQLite each history has a copy of one empty
file in memory; SQLite gets PostgreSQL's clock, so that several processes may work on it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast.unanswered import ALONE
from onboarding_worker.core.database.tables import CustomerRow
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.foundation.keyring import Keyring
from tests.simulated.statements import STATEMENTS
from tests.suite.of_features import of_features
from trials.kept_counts import untrue_counts
from trials.simulation.row_rules import QUERIES
from trials.simulation.setting import KEY

if TYPE_CHECKING:
    from trials.simulation.plan import Plan
    from trials.simulation.process import WorkerProcess
    from trials.simulation.world import World

MEMORY = Path("/dev/shm")  # noqa: S108 -- a file system in memory, where there is one
TIME = "%Y-%m-%d %H:%M:%S.%f"
_NEW_ATTEMPTS = ("INSERT INTO attempt ", "COPY attempt ")  # how their statements begin: on SQLite, on PostgreSQL


class Databases:
    """Makes the empty database of each history: a copy of one that is up to date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._empty = folder / "empty.db"
        made = Database(f"sqlite:///{self._empty}")
        schema.upgrade(made)
        made.close()

    def fresh(self) -> str:
        path = self.folder / "history.db"
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        shutil.copyfile(self._empty, path)
        return f"sqlite:///{path}"


class PostgresqlDatabases:
    """The same on a PostgreSQL server. Only this class and `shows_time_of` know which database it is."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self._server = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self._name = f"onboarding_simulation_{os.getpid()}"
        url = self._fresh(self._name)
        made = Database(url)
        schema.upgrade(made)
        made.close()
        with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
            connection.exec_driver_sql(_CLOCK)

    def fresh(self) -> str:
        return self._fresh(f"{self._name}_history", f"TEMPLATE {self._name}")

    def close(self) -> None:
        for name in (f"{self._name}_history", self._name):
            self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _fresh(self, name: str, source: str = "") -> str:
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._run(f"CREATE DATABASE {name} {source}")
        return self._server.url.set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with self._server.connect() as connection:
            connection.exec_driver_sql(statement)


# Found before PostgreSQL's own function: see `shows_time_of`.
_CLOCK = """
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT current_setting('simulated.now')::timestamptz $$
"""


@contextmanager
def databases(server: str | None = None) -> Iterator[Databases | PostgresqlDatabases]:
    """`server`: the URL of a PostgreSQL server; None: SQLite."""
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="onboarding-simulation-", dir=memory) as folder:
        if server is None:
            yield Databases(Path(folder))
            return
        made = PostgresqlDatabases(Path(folder), server)
        try:
            yield made
        finally:
            made.close()


def shows_time_of(world: "World", database: Database, clock: ProcessClock) -> None:
    """From now on, the database's own clock is the world's, and it counts for the process with this clock."""
    database.trust_its_time(clock)
    engine, database.has_own_time = database.engine, True
    engine.update_execution_options(compiled_cache=STATEMENTS)
    if engine.dialect.name == "sqlite":

        def connected(connection: Any, _record: object) -> None:
            connection.create_function("clock_timestamp", 0, lambda: world.clock().strftime(TIME))

        event.listen(engine, "connect", connected)
        return

    def begins(connection: sa.Connection) -> None:
        # For the transaction; for a statement without one (`Database.now`), until another value is set.
        local = str(not connection.get_execution_options().get(ALONE)).lower()
        connection.exec_driver_sql(
            f"SELECT set_config('search_path', 'simulated, pg_catalog, public', {local}),"
            f" set_config('simulated.now', '{world.clock().isoformat()}', {local})"
        )

    event.listen(engine, "begin", begins)


def strikes_at_commits(process: "WorkerProcess", engine: sa.Engine) -> None:
    """From now on, the process can be killed at a commit, and the database can be away."""
    writes = opens = False

    def begins(connection: sa.Connection) -> None:
        nonlocal writes, opens
        opens = False
        process.must_live()
        if process.simulation.is_database_away:
            raise sa.exc.OperationalError("BEGIN", None, Exception("connection refused"))
        writes = not connection.get_execution_options().get("onboarding_read", False)

    def executes(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        nonlocal opens
        opens = opens or statement.startswith(_NEW_ATTEMPTS)

    do_commit: Any = engine.dialect.do_commit

    def commit(connection: Any) -> None:
        process.must_live()
        if writes:
            process.strike("commit.before")
        do_commit(connection)
        if opens:
            process.life.opened.append(process.simulation.world.elapsed)
        if writes:
            process.strike("commit.after")

    event.listen(engine, "begin", begins)
    event.listen(engine, "before_cursor_execute", executes)
    engine.dialect.do_commit = commit  # type: ignore[assignment, method-assign]


def wrong_rows(connection: sa.Connection) -> Iterator[str]:
    """The rows that break a rule now, with its name."""
    for rule, query in QUERIES.items():
        yield from (f"{rule}: {tuple(row)}" for row in connection.exec_driver_sql(query))


class Observer:
    """Reads the database as nobody's process: for the beat, and for the end of the history."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        self._next_due = of_features("NEXT_DUE")

    def next_due(self, plan: "Plan") -> datetime | None:
        """When the next row is due, or the next lease ends; of what features have, too."""
        found = [self.rows(_NEXT_DUE)[0][0], *(next_due(self.rows, plan) for next_due in self._next_due)]
        times = [  # SQLite has texts
            datetime.fromisoformat(one).replace(tzinfo=UTC) if isinstance(one, str) else one for one in found if one
        ]
        return min(times, default=None)

    def rows(self, query: str) -> list[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.exec_driver_sql(query))

    def spoil(self, customer: str) -> None:
        """Give the customer's person a value that no release writes."""
        keyring, context = Keyring([KEY]), f"customer {customer}"
        with self._engine.begin() as connection:
            query = sa.select(CustomerRow.encrypted).where(CustomerRow.customer_id == customer)
            encrypted = connection.execute(query).scalar()
            if encrypted:
                spoilt = keyring.encrypt(
                    keyring.decrypt(encrypted, context=context) | {"date_of_birth": 7}, context=context
                )
                row = CustomerRow.customer_id == customer
                connection.execute(sa.update(CustomerRow).where(row).values(encrypted=spoilt))

    def wrong_rows(self) -> list[str]:
        with self._engine.connect() as connection:
            return list(wrong_rows(connection))

    def untrue_counts(self) -> list[str]:
        with self._engine.connect() as connection:
            return list(untrue_counts(connection))

    def close(self) -> None:
        self._engine.dispose()


_NEXT_DUE = """
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM job WHERE state = 'waiting' AND leader_id IS NULL
    UNION ALL SELECT min(lease_until) FROM job WHERE lease_until IS NOT NULL
    UNION ALL SELECT min(due_at) FROM invitation WHERE state = 'waiting'
    UNION ALL SELECT min(lease_until) FROM invitation WHERE lease_until IS NOT NULL
    UNION ALL SELECT min(check_at) FROM session
    UNION ALL SELECT min(due_at) FROM webhook
    UNION ALL SELECT min(check_at) FROM batch_plan
) AS each_table
"""
