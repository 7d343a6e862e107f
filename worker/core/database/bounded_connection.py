"""A connection to PostgreSQL: it is given up when the server does not answer a statement for too long, and it can send
statements before the answers to earlier ones have come (`UNANSWERED`).

A server that hangs (a stalled disk, an old primary after a failover) keeps its network alive: its kernel acknowledges
every byte, so that no setting of the connection ends the wait. Only the client can.

Statements whose answers a transaction does not need. PostgreSQL gets them at once, and nothing waits for them.

    connection.execute(statement, values, execution_options=UNANSWERED)

The next statement waits for their answers together with its own, or the commit does: one round trip for all of them, by
libpq's pipeline. An error of theirs is raised there, so such a transaction must not be rolled back without `settle`
where the error matters. SQLite runs them as any other.

BEGIN is one of them. psycopg's own would be waited for, also in a pipeline; so its connections are in autocommit mode,
and each transaction of ours begins with a statement.
"""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from sqlalchemy import event

from worker.core.database import on_loop
from worker.core.database.on_loop import is_on_loop
from worker.core.foundation.clock import monotonic

# How often psycopg looks whether the wait is over, in seconds: its own default.
LOOK_SECONDS = 0.1


@dataclass
class Patience:
    """How long each statement of a Database, and each commit, may take; None: as long as it takes."""

    seconds: float | None = None


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises psycopg.OperationalError, and is closed then, when the server has not answered within the patience.

    Whether a statement that was cut off was carried out is unknown, as for every broken connection.
    """

    patience: Patience
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

    def wait(self, gen: Any, interval: float = LOOK_SECONDS, timeout: float | None = None) -> Any:
        seconds = self.patience.seconds
        if seconds is None or timeout is not None:
            return self._wait(gen, interval, timeout)
        until = monotonic() + seconds
        try:
            return self._wait(gen, interval, seconds)
        except psycopg.OperationalError:
            if monotonic() < until or self.closed:
                raise  # the server's own error, or a connection that broke
            # Closed at once: SQLAlchemy then replaces it, and all older connections of the pool.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database has not answered for {seconds:g} s") from None

    def _wait(self, gen: Any, interval: float, timeout: float | None) -> Any:
        if is_on_loop():
            return on_loop.wait(gen, self.pgconn.socket, interval, timeout)
        return super().wait(gen, interval, timeout)


def bound(engine: sa.Engine) -> Patience:
    """Have all connections of this engine obey one Patience, which is returned. It may be changed at any time."""
    patience = Patience()

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = on_loop.elsewhere(lambda: BoundedConnection.connect(*arguments, **options))
        connection.patience = patience
        return connection

    event.listen(engine, "do_connect", connect)
    return patience


_OPTION = "onboarding_unanswered"
UNANSWERED = {_OPTION: True}
# An execution option of a connection: it runs each statement alone, without a transaction around it.
ALONE = "onboarding_alone"


def let_go_on(engine: sa.Engine) -> None:
    """Let this engine's connections go on before the answers to such statements come."""
    event.listen(engine, "connect", _begin_by_statements)
    event.listen(engine, "checkin", _begin_by_statements)  # psycopg has begun a transaction with a level of its own
    event.listen(engine, "begin", _begin)
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
    connection = cast(BoundedConnection, cursor.connection)
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
