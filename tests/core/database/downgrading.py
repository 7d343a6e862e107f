"""Migrates a database down, to look at a migration from both sides. The product only goes up."""

from pathlib import Path

from alembic import command

from worker.core.database.database import Database
from worker.core.database.schema import MIGRATIONS
from worker.wiring.store.migrating import config_of, its_own


def downgrade(database: Database, revision: str, *, migrations: Path = MIGRATIONS) -> None:
    """Migrate down to a revision, or to `base`."""
    config = config_of(migrations)
    with its_own(database) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()
