"""Loads many customers of whom some may be there already: an import's statement, where each value of each row counts.

PostgreSQL takes the rows of a chunk as one array for each column, SQLite runs one statement with a list of rows.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import sqlalchemy as sa

from worker.core.database import binary_rows, bulk
from worker.core.database.columns import Columns, rows_of
from worker.core.database.tables import CustomerRow

SAMPLE = 32  # of a list of which one row in 20 is known, four chunks of five show it


def load_customers(connection: sa.Connection, columns: Columns) -> set[str]:
    """INSERT the customers who are not there yet, in their order. Returns the ids of those who were there.

    A row that another transaction is inserting is waited for.
    """
    ids = columns["customer_id"]
    if not ids:
        return set()
    if connection.dialect.name == "sqlite":
        # One transaction writes at a time, so no other can come in between.
        there = _there(connection, set(ids))
        bulk.add(connection, CustomerRow, [row for row in rows_of(columns) if row["customer_id"] not in there])
        return there
    if len(set(ids)) >= bulk.COPIED and not _there(connection, _sample(ids)):
        # Most lists bring new customers alone. A COPY costs less than an INSERT that skips rows: it writes whole pages.
        try:
            with connection.begin_nested():
                bulk.add_columns(connection, CustomerRow, columns)
            return set()
        except sa.exc.IntegrityError:
            pass
    statement, types = _missing(tuple(columns))
    return set(ids) - set(connection.exec_driver_sql(statement, binary_rows.sent(types, columns)).scalars())


def _there(connection: sa.Connection, ids: Iterable[str]) -> set[str]:
    return set(connection.execute(_THERE, {"ids": bulk.keys(ids)}).scalars())


_THERE = sa.select(CustomerRow.customer_id).where(bulk.among(CustomerRow.customer_id, "ids"))


def _sample(ids: Sequence[str]) -> Sequence[str]:
    return ids[:: max(len(ids) // SAMPLE, 1)]


@cache
def _missing(columns: tuple[str, ...]) -> tuple[str, binary_rows.Types]:
    statement, types = bulk.insert_all(CustomerRow, columns)
    there = CustomerRow.__table__.c.customer_id
    return binary_rows.text(statement.on_conflict_do_nothing(index_elements=[there]).returning(there)), types
