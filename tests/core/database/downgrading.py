"""Migrates a database down, to look at a migration from both sides. The product only goes up."""

from contextlib import ExitStack
from pathlib import Path

from alembic import command
from alembic.config import Config

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import MIGRATIONS


def downgrade(database: Database, revision: str, *, migrations: Path = MIGRATIONS) -> None:
    """Migrate down to a revision, or to `base`."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with database.engine.connect() as connection, ExitStack() as at_the_end:
        if not database.is_sqlite:
            at_the_end.callback(connection.invalidate)  # its settings end with it
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()
