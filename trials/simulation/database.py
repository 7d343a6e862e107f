"""The database under the simulation: the real one, whose clock is the world's, and whose commits can be struck.

Calls are made one after the other, so nothing here waits for a lock. On SQLite each history has a copy of one empty
file in memory; SQLite gets PostgreSQL's clock, so that several processes may work on it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

from tests.simulated.statements import STATEMENTS
from trials.simulation.setting import KEY
from worker.foundation.keyring import Keyring
from worker.store.base import schema
from worker.store.base.database import OWN_TIME, Database
from worker.store.tables import CustomerRow

if TYPE_CHECKING:
    from trials.simulation.process import WorkerProcess
    from trials.simulation.world import World

MEMORY = Path("/dev/shm")  # noqa: S108 -- a file system in memory, where there is one
TIME = "%Y-%m-%d %H:%M:%S.%f"


class Databases:
    """Makes the empty database of each history."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._empty = folder / "empty.db"
        made = Database(f"sqlite:///{self._empty}")
        schema.upgrade(made)
        made.close()
        self._used: list[Path] = []

    def fresh(self) -> str:
        for path in self._used:
            for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                name.unlink(missing_ok=True)
        path = self.folder / "history.db"
        shutil.copyfile(self._empty, path)
        self._used = [path]
        return f"sqlite:///{path}"


@contextmanager
def databases() -> Iterator[Databases]:
    with tempfile.TemporaryDirectory(
        prefix="onboarding-simulation-", dir=MEMORY if MEMORY.is_dir() else None
    ) as folder:
        yield Databases(Path(folder))


def shows_time_of(world: "World", engine: sa.Engine) -> None:
    """From now on, the database's own clock is the world's."""
    engine.update_execution_options(compiled_cache=STATEMENTS, **{OWN_TIME: True})

    def connected(connection: Any, _record: object) -> None:
        connection.create_function("clock_timestamp", 0, lambda: world.clock().strftime(TIME))

    event.listen(engine, "connect", connected)


def strikes_at_commits(process: "WorkerProcess", engine: sa.Engine) -> None:
    """From now on, the process can be killed at a commit, and the database can be away."""
    writes = False

    def begins(connection: sa.Connection) -> None:
        nonlocal writes
        process.must_live()
        if process.simulation.is_database_away:
            raise sa.exc.OperationalError("BEGIN", None, Exception("connection refused"))
        writes = not connection.get_execution_options().get("onboarding_read", False)

    do_commit: Any = engine.dialect.do_commit

    def commit(connection: Any) -> None:
        process.must_live()
        if writes:
            process.strike("commit.before")
        do_commit(connection)
        if writes:
            process.strike("commit.after")

    event.listen(engine, "begin", begins)
    engine.dialect.do_commit = commit  # type: ignore[method-assign]


class Observer:
    """Reads the database as nobody's process: for the beat, and for the end of the history."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)

    def next_due(self) -> datetime | None:
        """When the next row is due, or the next lease ends."""
        found = self.rows(_NEXT_DUE)[0][0]
        return datetime.fromisoformat(found).replace(tzinfo=UTC) if found else None

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

    def close(self) -> None:
        self._engine.dispose()


_NEXT_DUE = """
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM job WHERE state = 'waiting' AND joins IS NULL
    UNION ALL SELECT min(lease_until) FROM job WHERE lease_until IS NOT NULL
    UNION ALL SELECT min(due_at) FROM invitation WHERE state = 'waiting'
    UNION ALL SELECT min(lease_until) FROM invitation WHERE lease_until IS NOT NULL
    UNION ALL SELECT min(check_at) FROM session
    UNION ALL SELECT min(due_at) FROM webhook
) AS each_table
"""
