"""Alembic's entry: migrates the database of the connection handed in, or of the configuration."""

from alembic import context

from worker.models import Base
from worker.store.database import Database

config = context.config


def migrate(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type]  # a Connection; Alembic's attributes are untyped
        target_metadata=Base.metadata,
        # SQLite cannot alter a column in place: Alembic copies the table instead.
        render_as_batch=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in = config.attributes.get("connection")
if handed_in is not None:
    migrate(handed_in)
else:
    from worker.settings import load

    with Database(load().database.url).engine.connect() as opened:
        migrate(opened)
