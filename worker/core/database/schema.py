"""Which tables there are, which schema a database has, how it gets this release's, and whether a process may work on
it."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import naming_outages
from onboarding_worker.core.database.tables import AuditHead
from onboarding_worker.core.database.tables.types import NAMING, OPTIONS, Base
from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, NOT_INSTALLED, Hook

# A wheel has the migrations inside the package, a checkout has them next to the package.
_PACKAGED = Path(__file__).parents[2] / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / "migrations"
MIGRATION = re.compile(r"(\d{4})_\w+\.py")  # a migration's file is named by its revision
VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))  # Alembic's own table
COPYING = "copying"  # the revision of a database that `onboard db copy` has not filled yet
# Each is what the classes of a feature's tables have as their `metadata`. The feature `metrics` has one table.
TABLES = Hook("TABLES", sa.MetaData)
LOCK_NOT_AVAILABLE = "55P03"
# A migration waits only a short time for a table's lock (migrations/env.py), because all other transactions on the
# table wait behind it. It tries TRIES times. In the pauses the other transactions go on.
TRIES = 20
PAUSE_SECONDS = 1.0
ONE_AT_A_TIME = 7_264_081_153_509_342_211  # PostgreSQL's advisory lock for migrations: an arbitrary number


def all_tables() -> list[sa.Table]:
    """The core's, and those of the features that are here; one that rows of others refer to comes first."""
    return [table for one in (Base.metadata, *TABLES.offered()) for table in one.sorted_tables]


@cache  # every migration asks for it, and a copy of all tables takes longer than most migrations do
def all_metadata() -> sa.MetaData:
    """All tables in one, as what compares a schema with them needs it. Of a list, names of constraints are lost."""
    merged = sa.MetaData(naming_convention=NAMING)
    for table in all_tables():
        for one in table.indexes:
            one.dialect_kwargs.update(one.info.get(OPTIONS, {}))
        table.to_metadata(merged)
    return merged


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


def make_unmigrated(database: Database) -> None:
    """Make the tables in an empty database that is read once and thrown away: without triggers, since no row changes.

    Every other one is migrated. For that Alembic is loaded, which takes longer than to load SQLAlchemy.
    """
    before = "0" * 64
    head = {"id": 1, "number": 0, "hash": before, "removed_to": 0, "removed_hash": before}
    with database.write() as connection:
        for table in all_tables():
            table.create(connection)
        connection.execute(sa.insert(AuditHead.__table__), head)
        connection.execute(sa.text(f"CREATE TABLE {VERSION.name} (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.insert(VERSION).values(version_num=newest()))


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
        # Which feature must be there that is not: the database has what only it serves.
        missing = {name: served for name, served in shipped.SERVES.items() if name not in FEATURES.here}
        for name, (what, query) in missing.items():
            if database.first(sa.text(query)) is not None:
                return f"{name}: {NOT_INSTALLED}, and {what}: install it again"
        return None
    if at is not None and at not in known():
        return _newer(at)
    if foreign := tables_of_others(database):
        return foreign
    if at is None and (unable := database.why_it_takes_no_tables()):
        return f"the database is empty, and {unable}; then run `onboard db upgrade`"
    return f"the database is {'empty' if at is None else f'at revision {at}'}: run `onboard db upgrade`"


def tables_of_others(database: Database) -> str:
    """Why no tables can be made in the database, and what to do: it was never migrated, and has tables with the names
    of ours. "": it has none."""
    with database.read() as connection:
        there = frozenset(sa.inspect(connection).get_table_names())
    found = there & {table.name for table in all_tables()}
    if VERSION.name in there or not found:
        return ""
    has = f"the database has {'a table' if len(found) == 1 else 'tables'} of another program"
    return f"{has} ({', '.join(sorted(found))}): make another one, or on PostgreSQL a schema of its own, for the worker"


def _newer(at: str) -> str:
    if at == COPYING:
        return "the database is a copy that is not whole: run `onboard db copy` again, on the database it is made of"
    return f"the database is at revision {at}, which is newer than this release ({newest()}): upgrade the worker"


class TableInUse(Exception):
    """Another transaction kept a table locked during all tries. Earlier migrations of this run are committed."""


class NotMigrated(Exception):
    """Nothing has changed: Alembic does not know the database's revision, or the wanted one, the database's encoding
    cannot hold every name, tables of another program have the names of ours, or this role may make none."""


def upgrade(
    database: Database,
    revision: str = "head",
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
    migrations: Path = MIGRATIONS,
) -> None:
    """Migrate up, with one transaction for each step. A second run changes nothing. Raises TableInUse, NotMigrated,
    and sqlalchemy.exc.OperationalError where the database cannot be used, or does not let this role."""
    from alembic import command  # imported here: it takes a twentieth of a command's time to load
    from alembic.config import Config
    from alembic.util import CommandError

    if unfit := database.why_it_holds_not_every_text() or tables_of_others(database):
        raise NotMigrated(unfit)
    if current(database) is None and (unable := database.why_it_takes_no_tables()):
        raise NotMigrated(unable)
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    for tried in range(tries):
        if tried:
            pause(PAUSE_SECONDS)  # outside of the transaction, so that the waiting transactions go on
        try:
            with naming_outages(), database.engine.connect() as connection, ExitStack() as at_the_end:
                if not database.is_sqlite:
                    # It does not go back to the pool: its settings and its lock end with it.
                    at_the_end.callback(connection.invalidate)
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
