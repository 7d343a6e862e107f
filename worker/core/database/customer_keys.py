"""Queries for a chunk of keys. A key is a customer and a purpose.

A statement gets all customers as one parameter and all purposes as another parameter, so that it can use an index. It
therefore also finds a customer with a purpose of another key: `rows_of` drops these rows.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.tables import Job, SessionRow, StableLink

Key = tuple[str, str]  # customer and purpose


def among_keys(
    model: type[Job] | type[SessionRow] | type[StableLink],
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Conditions: the row belongs to the customers, and to the purposes, that `rows_of` binds."""
    return bulk.among(model.customer_id, "customers"), bulk.among(model.purpose, "purposes")


def rows_of(connection: sa.Connection, query: sa.Executable, keys: Collection[Key], **more: Any) -> list[sa.Row[Any]]:
    """The rows of these keys. The query has the conditions of `among_keys`, selects both columns, and binds `more`."""
    if not keys:
        return []
    given = {
        "customers": bulk.keys(sorted({customer_id for customer_id, _ in keys})),
        "purposes": bulk.keys(sorted({purpose for _, purpose in keys})),
        **more,
    }
    return [row for row in fetch(connection, query, given) if (row.customer_id, row.purpose) in keys]
