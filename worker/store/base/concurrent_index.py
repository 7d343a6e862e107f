"""Indexes that a migration builds or drops while workers use the table.

On PostgreSQL each is built CONCURRENTLY, which needs no transaction: what the migration did before is committed, and
is not undone when the build fails. So a migration calls this before all else, or does nothing else.
SQLite locks the whole file for each write: there an index is built as any other.
"""

import sqlalchemy as sa
from alembic import op

_IS_VALID = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def build_index(name: str, table: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """Build an index of the table's rows, or of those that `where` names.

    A build that was cut off leaves an invalid index, which is built anew. A valid one stays: a migration that is tried
    again must not take it from the workers that use it.
    """
    rows = sa.text(where) if where else None
    if _is_sqlite():
        op.create_index(name, table, list(columns), unique=unique, sqlite_where=rows)
        return
    with op.get_context().autocommit_block():
        if op.get_bind().execute(_IS_VALID, {"name": name}).scalar():
            return
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, list(columns), unique=unique, postgresql_where=rows, postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    """Drop an index. One that is gone already stays gone."""
    if _is_sqlite():
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"
