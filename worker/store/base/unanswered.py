"""Statements whose answers a transaction does not need. PostgreSQL gets them at once, and nothing waits for them.

    connection.execute(statement, values, execution_options=UNANSWERED)

The next statement waits for their answers together with its own, or the commit does: one round trip for all of them, by
libpq's pipeline. An error of theirs is raised there, so such a transaction must not be rolled back without `settle`
where the error matters. SQLite runs them as any other.
"""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

from worker.store.base.bounded_connection import BoundedConnection
from worker.store.base.on_loop import is_on_loop

_OPTION = "onboarding_unanswered"
UNANSWERED = {_OPTION: True}


def let_go_on(engine: sa.Engine) -> None:
    """Let this engine's connections go on before the answers to such statements come."""
    event.listen(engine, "do_execute", _execute)


def settle(connection: sa.Connection) -> None:
    """Wait for all answers. Raises the error of the first statement that has one."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT 1")


def _execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    connection = cast(BoundedConnection, cursor.connection)
    if context.execution_options.get(_OPTION):
        connection.go_on()
        return None
    if is_on_loop():  # there each wait is a turn of the loop, and others have theirs before it
        connection.begin_with_next()
    if not connection.goes_on:
        return None
    cursor.execute(statement, parameters)
    connection.catch_up()
    return True
