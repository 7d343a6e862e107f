"""Indexes that a migration builds or drops while workers use the table.

PostgreSQL builds and drops them CONCURRENTLY, outside of a transaction: the migration's earlier changes are committed
first, and a failed build does not undo them. So a migration calls these functions and changes nothing else; both may be
called again. SQLite locks the whole file for each write, so there an index is built in the usual way.

A build waits for every transaction that is older than itself, whatever that does: a backup, a report. It blocks none of
them and no worker, so it waits for as long as it takes, without the lock_timeout of the other migrations.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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
    with _patiently():
        if op.get_bind().execute(_IS_VALID, {"name": name}).scalar():
            return
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, list(columns), unique=unique, postgresql_where=rows, postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    if _is_sqlite():
        op.drop_index(name, table, if_exists=True)
        return
    with _patiently():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


@contextmanager
def _patiently() -> Iterator[None]:
    """Outside of a transaction, and without lock_timeout."""
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        before = connection.execute(sa.text("SELECT current_setting('lock_timeout')")).scalar_one()
        connection.execute(_TIMEOUT, {"value": "0"})
        yield
        # A failure ends the connection, and the setting with it.
        connection.execute(_TIMEOUT, {"value": before})


_TIMEOUT = sa.text("SELECT set_config('lock_timeout', :value, false)")


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"
