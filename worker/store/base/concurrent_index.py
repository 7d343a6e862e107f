"""Indexes that a migration builds or drops while workers use the table.

PostgreSQL builds and drops them CONCURRENTLY, outside of a transaction: the migration's earlier changes are committed
first, and a failed build does not undo them. So a migration calls these functions first, or does nothing else.
SQLite locks the whole file for each write, so there an index is built in the usual way.
"""

import sqlalchemy as sa
from alembic import op

_IS_VALID = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def build_index(name: str, table: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """Build an index of the table's rows, or of the rows that match `where`.

    An interrupted build leaves an invalid index. This function drops an invalid index and builds it again. A valid
    index stays: a repeated migration must not remove an index that workers use.
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
    """Drop an index if it exists."""
    if _is_sqlite():
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"
