"""Which tables there are, which schema a database has, and whether a process of this release may work on it."""

import re
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from worker.core import shipped
from worker.core.database.database import Database
from worker.core.database.tables import AuditHead
from worker.core.database.tables.types import NAMING, OPTIONS, Base
from worker.core.features import FEATURES, NOT_INSTALLED, Hook

# A wheel has the migrations inside the package, a checkout has them next to the package.
_PACKAGED = Path(__file__).parents[2] / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / "migrations"
MIGRATION = re.compile(r"(\d{4})_\w+\.py")  # a migration's file is named by its revision
VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))  # Alembic's own table
COPYING = "copying"  # the revision of a database that `onboard db copy` has not filled yet
# Each is what the classes of a feature's tables have as their `metadata`. The feature `metrics` has one table.
TABLES = Hook("TABLES", sa.MetaData)


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
            with database.read() as connection:
                if connection.execute(sa.text(query)).first() is not None:
                    return f"{name}: {NOT_INSTALLED}, and {what}: install it again"
        return None
    if at is not None and at not in known():
        return _newer(at)
    if foreign := tables_of_others(database):
        return foreign
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
