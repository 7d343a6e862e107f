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

from contextlib import AbstractContextManager, suppress
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from sqlalchemy import event

from worker.core.database.fast.twins import Twin, runs

_OPTION = "onboarding_unanswered"
UNANSWERED = {_OPTION: True}
# An execution option of a connection: it runs each statement alone, without a transaction around it.
ALONE = "onboarding_alone"


class GoesOn(psycopg.Connection[TupleRow]):
    """A connection that can send statements before the answers to earlier ones have come."""

    _pipeline_mode: AbstractContextManager[Any] | None = None  # entered while answers are outstanding

    @property
    def goes_on(self) -> bool:
        """Whether answers are outstanding."""
        return self._pipeline_mode is not None

    def go_on(self) -> None:
        """Wait for no answer until `catch_up`, or until the transaction ends."""
        if self._pipeline_mode is None:  # a statement that raised before it was sent has left it open
            self._pipeline_mode = self.pipeline()
            self._pipeline_mode.__enter__()

    def catch_up(self) -> None:
        """Wait for all answers. Raises the first error."""
        if self._pipeline_mode is not None:
            mode, self._pipeline_mode = self._pipeline_mode, None
            mode.__exit__(None, None, None)

    def commit(self) -> None:
        if not self.goes_on:
            super().commit()
            return
        self.execute("COMMIT")  # psycopg's own commit would wait twice
        self.catch_up()

    def rollback(self) -> None:
        with suppress(psycopg.Error):  # of a statement that is rolled back
            self.catch_up()
        super().rollback()

    def close(self) -> None:
        if self.closed:  # the server is gone, and with it the answers
            with suppress(psycopg.Error):  # else psycopg logs it as a warning whenever it is collected as garbage
                self.catch_up()
        super().close()


def let_go_on(engine: sa.Engine) -> None:
    """Let this engine's connections go on before the answers to such statements come."""
    event.listen(engine, "connect", _begin_by_statements)
    event.listen(engine, "checkin", _begin_by_statements)  # psycopg has begun a transaction with a level of its own
    event.listen(engine, "begin", _begin)
    if runs(Twin.UNANSWERED):
        event.listen(engine, "do_execute", _execute)
        event.listen(engine, "do_executemany", _execute_many)


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
    connection = cast(GoesOn, cursor.connection)
    if context.execution_options.get(_OPTION):
        connection.go_on()
        return None
    if not connection.goes_on:
        return None
    cursor.execute(statement, parameters)
    connection.catch_up()
    return True


def _execute_many(cursor: Any, _statement: str, _parameters: Any, _context: Any) -> None:
    cursor.connection.catch_up()  # so that an error is raised here
