"""PostgreSQL: statements whose answers a transaction does not need are sent at once, and nothing waits for them.

    connection.execute(statement, values, execution_options=UNANSWERED)

The next statement waits for their answers together with its own, or the commit does: one round trip for all of them, by
libpq's pipeline. An error of theirs is raised there, so such a transaction must not be rolled back without `settle`
where the error matters. BEGIN is one of them: psycopg's own would be waited for, also in a pipeline, so its connections
are in autocommit mode, and each transaction of ours begins with a statement.

Plain: each statement's answer is waited for, BEGIN's too. So it is on SQLite.

Gain: results are written in three round trips to the server instead of twelve, and an account's budget is locked for as
many less. It gains no processor time. Leans on psycopg's pipeline mode and autocommit, and on events of SQLAlchemy.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from onboarding_worker.core.database import fast
from onboarding_worker.core.database.fast import Twin

_OPTION = "onboarding_unanswered"
UNANSWERED = {_OPTION: True}
# An execution option of a connection: it runs each statement alone, without a transaction around it.
ALONE = "onboarding_alone"


def let_go_on(engine: sa.Engine) -> None:
    """Let this engine's connections go on before the answers to such statements come."""
    event.listen(engine, "connect", _begin_by_statements)
    event.listen(engine, "checkin", _begin_by_statements)  # psycopg has begun a transaction with a level of its own
    event.listen(engine, "begin", _begin)
    if Twin.UNANSWERED not in fast.plain:
        event.listen(engine, "do_execute", _execute)
        # So that an error is raised here.
        event.listen(engine, "do_executemany", lambda cursor, *_: cursor.connection.catch_up())


def settle(connection: sa.Connection) -> None:
    """Wait for all answers. Raises the error of the first statement that has one."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT 1")


def _begin_by_statements(connection: Any, _record: Any) -> None:
    if connection is not None and not connection.autocommit:  # None: it broke
        connection.autocommit = True


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    # A transaction with another level of isolation is begun by psycopg, which knows the level.
    if not options.get(ALONE) and "isolation_level" not in options:
        connection.exec_driver_sql("BEGIN", execution_options=UNANSWERED)


def _execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    connection = cursor.connection  # a `BoundedConnection`
    if context.execution_options.get(_OPTION):
        connection.go_on()
        return None
    if not connection.goes_on:
        return None
    cursor.execute(statement, parameters)
    connection.catch_up()
    return True
