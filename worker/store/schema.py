"""Brings a database to this release's schema, and says when it is not there."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.store.database import Database

# In a wheel the migrations lie inside the package, in a checkout beside it.
_PACKAGED = Path(__file__).parent.parent / "migrations"
MIGRATIONS = _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def newest() -> str:
    """The revision that this release needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("this installation holds no migrations")
    return head


def current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up, in a transaction for each step. Doing it twice does nothing."""
    config = _config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def downgrade(database: Database, revision: str) -> None:
    """Migrate down to a revision, or to `base`."""
    config = _config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()


def why_not_ready(database: Database) -> str | None:
    """What a person must do before this release can use the database; None when nothing."""
    try:
        at = current(database)
    except sa.exc.OperationalError as error:
        return f"the database cannot be reached: {str(error.orig).strip().splitlines()[0]}"
    if at == newest():
        return None
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if at is not None and at not in known:
        return f"the database is at revision {at}, which is newer than this release ({newest()}): upgrade the worker"
    return f"the database is {'empty' if at is None else f'at revision {at}'}: run `onboard db upgrade`"
