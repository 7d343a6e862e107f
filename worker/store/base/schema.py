"""Brings a database to this release's schema, and says when it is not there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.store.base.database import Database, reason

# In a wheel the migrations lie inside the package, in a checkout beside it.
_PACKAGED = Path(__file__).parents[2] / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / "migrations"
LOCK_NOT_AVAILABLE = "55P03"
# A migration waits a short time only for a table (migrations/env.py), since all others queue behind it meanwhile;
# in between they go on. So often it tries, with a second's pause.
TRIES = 20
PAUSE_SECONDS = 1.0
ONE_AT_A_TIME = 7_264_081_153_509_342_211  # PostgreSQL's advisory lock of whoever migrates: any number of ours


class TableInUse(Exception):
    """A transaction of somebody else's kept a table for as long as we tried. What was migrated before it, is."""


def _config(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


@cache
def newest(migrations: Path = MIGRATIONS) -> str:
    """The revision that a release with these migrations needs."""
    head = ScriptDirectory.from_config(_config(migrations)).get_current_head()
    if head is None:
        raise RuntimeError("this installation holds no migrations")
    return head


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config(MIGRATIONS)).walk_revisions())


def current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(
    database: Database,
    revision: str = "head",
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
    migrations: Path = MIGRATIONS,
) -> None:
    """Migrate up, in a transaction for each step. Doing it twice does nothing. Raises TableInUse."""
    _migrate(database, command.upgrade, _config(migrations), revision, tries, pause)


def downgrade(
    database: Database,
    revision: str,
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
    migrations: Path = MIGRATIONS,
) -> None:
    """Migrate down to a revision, or to `base`. Raises TableInUse."""
    _migrate(database, command.downgrade, _config(migrations), revision, tries, pause)


@contextmanager
def _its_own(database: Database) -> Iterator[sa.Connection]:
    """A connection that nobody is given after this: its settings and its lock end with it."""
    with database.engine.connect() as connection:
        try:
            yield connection
        finally:
            if not database.is_sqlite:
                connection.invalidate()


def _migrate(
    database: Database,
    step: Callable[[Config, str], None],
    config: Config,
    revision: str,
    tries: int,
    pause: Callable[[float], None],
) -> None:
    for tried in range(tries):
        if tried:
            pause(PAUSE_SECONDS)  # outside of the transaction: who queued behind it goes on
        try:
            with _its_own(database) as connection:
                if not database.is_sqlite:
                    alone = connection.execute(sa.select(sa.func.pg_try_advisory_lock(ONE_AT_A_TIME))).scalar_one()
                    connection.commit()
                    if not alone:
                        continue
                config.attributes["connection"] = connection
                step(config, revision)
                connection.commit()
                return
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
    raise TableInUse(
        "another upgrade, or a long transaction, keeps a table that is to change; nothing is half done, run it again."
        " SELECT pid, xact_start, query FROM pg_stat_activity WHERE xact_start < now() - interval '5 s' names it"
    )


def outdated(database: Database) -> str | None:
    """Why this release may not go on, since somebody upgraded the database; None when it may. A few small queries.

    Raises sqlalchemy.exc.OperationalError when the database is away.
    """
    at = current(database)
    return _newer(at) if at is not None and at not in _known() else None


def why_not_ready(database: Database) -> str | None:
    """What a person must do before this release can use the database; None when nothing."""
    try:
        at = current(database)
    except sa.exc.OperationalError as error:
        return f"the database cannot be reached: {reason(error)}"
    if at == newest():
        return None
    if at is not None and at not in _known():
        return _newer(at)
    return f"the database is {'empty' if at is None else f'at revision {at}'}: run `onboard db upgrade`"


def _newer(at: str) -> str:
    return f"the database is at revision {at}, which is newer than this release ({newest()}): upgrade the worker"
