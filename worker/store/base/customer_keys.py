"""Customers and the purposes that they are served for, a chunk at a time.

A statement is given all the customers and all the purposes, as one parameter each, which an index answers. So it finds
a customer for another one's purpose too, and that is left out of what it found.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.tables import Job, SessionRow

Key = tuple[str, str]  # customer and purpose


def among_keys(model: type[Job] | type[SessionRow]) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether a row is of the customers, and of the purposes, that `rows_of` gives."""
    return bulk.among(model.customer_id, "customers"), bulk.among(model.purpose, "purposes")


def rows_of(connection: sa.Connection, query: sa.Executable, keys: Collection[Key]) -> list[sa.Row[Any]]:
    """The rows of these keys, by a query that asks `among_keys` and names both columns."""
    if not keys:
        return []
    given = {
        "customers": bulk.keys(sorted({customer_id for customer_id, _ in keys})),
        "purposes": bulk.keys(sorted({purpose for _, purpose in keys})),
    }
    return [row for row in fetch(connection, query, given) if (row.customer_id, row.purpose) in keys]
