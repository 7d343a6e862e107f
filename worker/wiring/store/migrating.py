"""Migrates a database to this release's schema.

Alembic takes a twentieth of a command's time to load: it is imported where a database is migrated.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.schema import MIGRATIONS, tables_of_others

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_NOT_AVAILABLE = "55P03"
# A migration waits only a short time for a table's lock (migrations/env.py), because all other transactions on the
# table wait behind it. It tries TRIES times. In the pauses the other transactions go on.
TRIES = 20
PAUSE_SECONDS = 1.0
ONE_AT_A_TIME = 7_264_081_153_509_342_211  # PostgreSQL's advisory lock for migrations: an arbitrary number


class TableInUse(Exception):
    """Another transaction kept a table locked during all tries. Earlier migrations of this run are committed."""


class NotMigrated(Exception):
    """Nothing has changed: Alembic does not know the database's revision, or the wanted one, the database's encoding
    cannot hold every name, or tables of another program have the names of ours."""


def config_of(migrations: Path) -> "Config":
    """Alembic's configuration."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


@contextmanager
def its_own(database: Database) -> Iterator[sa.Connection]:
    """A connection that does not go back to the pool: its settings and its lock end with it."""
    with database.engine.connect() as connection:
        try:
            yield connection
        finally:
            if not database.is_sqlite:
                connection.invalidate()


def upgrade(
    database: Database,
    revision: str = "head",
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
    migrations: Path = MIGRATIONS,
) -> None:
    """Migrate up, with one transaction for each step. A second run changes nothing. Raises TableInUse, NotMigrated."""
    from alembic import command
    from alembic.util import CommandError

    if unfit := database.why_it_holds_not_every_text() or tables_of_others(database):
        raise NotMigrated(unfit)
    config = config_of(migrations)
    for tried in range(tries):
        if tried:
            pause(PAUSE_SECONDS)  # outside of the transaction, so that the waiting transactions go on
        try:
            with its_own(database) as connection:
                if not database.is_sqlite:
                    alone = connection.execute(sa.select(sa.func.pg_try_advisory_lock(ONE_AT_A_TIME))).scalar_one()
                    connection.commit()
                    if not alone:
                        continue
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                connection.commit()
                return
        except CommandError as error:
            raise NotMigrated(str(error)) from None
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
    raise TableInUse(
        "another upgrade or a long transaction locks a table that must change; no migration is half done. Run the"
        " command again. To find the transaction: SELECT pid, xact_start, query FROM pg_stat_activity"
        " WHERE xact_start < now() - interval '5 s'"
    )
