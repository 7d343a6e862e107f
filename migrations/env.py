"""Alembic's entry point: migrates the database of the given connection, or else of the configuration."""

from typing import Any

import sqlalchemy as sa
from alembic import context

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_metadata

config = context.config
# A change to a table waits for all transactions that read the table, and later transactions wait behind the change. The
# change gives up soon, so that workers go on, and is tried again (worker/core/database/schema.py).
LOCK_SECONDS = 2


def is_compared(found: Any, _name: str | None, kind: str, in_database: bool, model: Any) -> bool:
    """False for an index with an expression, which PostgreSQL words anew: `alembic check` would find it changed. False
    for a table without a model: of a feature that was taken out."""
    if kind == "table":
        return model is not None or not in_database
    return kind != "index" or all(isinstance(part, sa.Column) for part in found.expressions)


def migrate(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=all_metadata(),
        include_object=is_compared,
        # SQLite cannot alter a column in place, so Alembic copies the table.
        render_as_batch=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    from onboarding_worker.settings.load import load

    section = load().database
    with Database(section.url, tls=section.protection).engine.connect() as opened:
        migrate(opened)
