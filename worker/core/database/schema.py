"""Migrates a database to this release's schema, and reports a database that has another schema.

Every process asks which schema a database has. That needs no Alembic, which takes a twentieth of a command's time to
load: it is imported where a database is migrated.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core import shipped
from worker.core.database.database import Database
from worker.core.features import FEATURES, NOT_INSTALLED

if TYPE_CHECKING:
    from alembic.config import Config

# A wheel has the migrations inside the package, a checkout has them next to the package.
_PACKAGED = Path(__file__).parents[2] / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / "migrations"
MIGRATION = re.compile(r"(\d{4})_\w+\.py")  # a migration's file is named by its revision
LOCK_NOT_AVAILABLE = "55P03"
# A migration waits only a short time for a table's lock (migrations/env.py), because all other transactions on the
# table wait behind it. It tries TRIES times. In the pauses the other transactions go on.
TRIES = 20
PAUSE_SECONDS = 1.0
VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))  # Alembic's own table
COPYING = "copying"  # the revision of a database that `onboard db copy` has not filled yet
ONE_AT_A_TIME = 7_264_081_153_509_342_211  # PostgreSQL's advisory lock for migrations: an arbitrary number


class TableInUse(Exception):
    """Another transaction kept a table locked during all tries. Earlier migrations of this run are committed."""


class NotMigrated(Exception):
    """Nothing has changed: Alembic does not know the database's revision, or the wanted one, or the database's encoding
    cannot hold every name."""


def _config(migrations: Path) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


@cache
def newest(migrations: Path = MIGRATIONS) -> str:
    """The newest revision of these migrations, which the release needs."""
    if not known(migrations):
        raise RuntimeError("this installation has no migrations")
    return max(known(migrations))


@cache
def known(migrations: Path = MIGRATIONS) -> frozenset[str]:
    """The revisions of these migrations, which the release knows."""
    files = (MIGRATION.fullmatch(path.name) for path in (migrations / "versions").iterdir())
    return frozenset(file[1] for file in files if file)


def current(database: Database) -> str | None:
    """The database's revision. None: the database is empty."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table(VERSION.name):
            return None
        return connection.execute(sa.select(VERSION.c.version_num)).scalar_one_or_none()


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

    if unfit := database.why_it_holds_not_every_text():
        raise NotMigrated(unfit)
    _migrate(database, command.upgrade, _config(migrations), revision, tries, pause)


def downgrade(
    database: Database,
    revision: str,
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
    migrations: Path = MIGRATIONS,
) -> None:
    """Migrate down to a revision, or to `base`. Raises TableInUse, NotMigrated."""
    from alembic import command

    _migrate(database, command.downgrade, _config(migrations), revision, tries, pause)


@contextmanager
def _its_own(database: Database) -> Iterator[sa.Connection]:
    """A connection that does not go back to the pool: its settings and its lock end with it."""
    with database.engine.connect() as connection:
        try:
            yield connection
        finally:
            if not database.is_sqlite:
                connection.invalidate()


def _migrate(
    database: Database,
    step: "Callable[[Config, str], None]",
    config: "Config",
    revision: str,
    tries: int,
    pause: Callable[[float], None],
) -> None:
    from alembic.util import CommandError

    for tried in range(tries):
        if tried:
            pause(PAUSE_SECONDS)  # outside of the transaction, so that the waiting transactions go on
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


def outdated(database: Database) -> str | None:
    """Why this release must stop because the database was upgraded; None if it may go on. Makes a few small queries.

    Raises sqlalchemy.exc.OperationalError if the database cannot be used.
    """
    at = current(database)
    return _newer(at) if at is not None and at not in known() else None


class NotReady(Exception):
    """The database cannot be used, or has another release's schema. The text says what to do.

    `what` is the text without `why`, the words of the database or its driver.
    """

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(f"{what}: {why}" if why else what)
        self.what, self.why = what, why


class Outdated(NotReady):
    """The database has a newer release's schema: this process will never be ready."""


def why_not_ready(database: Database) -> str | None:
    """What the operator must do before this release can use the database; None if the database is ready.

    Raises sqlalchemy.exc.OperationalError if the database cannot be used.
    """
    if unfit := database.why_it_holds_not_every_text():
        return unfit
    at = current(database)
    if at == newest():
        return _not_served(database)
    if at is not None and at not in known():
        return _newer(at)
    return f"the database is {'empty' if at is None else f'at revision {at}'}: run `onboard db upgrade`"


def _not_served(database: Database) -> str | None:
    """Which feature must be there that is not: the database has what only it serves."""
    missing = {name: served for name, served in shipped.SERVES.items() if name not in FEATURES.here}
    for name, (what, query) in missing.items():
        with database.read() as connection:
            if connection.execute(sa.text(query)).first() is not None:
                return f"{name}: {NOT_INSTALLED}, and {what}: install it again"
    return None


def _newer(at: str) -> str:
    if at == COPYING:
        return "the database is a copy that is not whole: run `onboard db copy` again, on the database it is made of"
    return f"the database is at revision {at}, which is newer than this release ({newest()}): upgrade the worker"
