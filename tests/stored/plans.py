"""The plans of statements, explained as they run: by which index a database finds the rows."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database


@contextmanager
def plans_of(database: Database, *words: str, is_small: bool = False) -> Iterator[list[str]]:
    """The plan of each statement that has all the words, in the order in which they run, one text a statement.

    `is_small`: PostgreSQL would read the whole of so small a table, and is kept from it.
    """
    plans: list[str] = []

    def explain(_connection, cursor, text, parameters, *_):
        if not all(word in " ".join(text.split()) for word in words):
            return
        if is_small and not database.is_sqlite:
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(("EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN ") + text, parameters)
        plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    sa.event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", explain)


def tidy(database: Database, *tables: str) -> None:
    """PostgreSQL's vacuum and new figures: the rows that earlier tests deleted still count, and change the plan."""
    if database.is_sqlite:
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE {', '.join(tables)}")
