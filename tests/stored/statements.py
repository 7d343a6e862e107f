"""The statements that a database runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The texts of all statements of all connections meanwhile, each as one line."""
    made: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        made.append(" ".join(statement.split()))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)
