"""A connection to PostgreSQL that goes on before its answers come, and is given up when they take too long.

A server that hangs (a stalled disk, an old primary after a failover) keeps its network alive: its kernel acknowledges
every byte, so that no setting of the connection ends the wait. Only the client can.
"""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from psycopg.waiting import wait_async
from sqlalchemy import event
from sqlalchemy.util import await_

from worker.core.database.database import elsewhere, is_on_loop
from worker.core.foundation.clock import monotonic

# How often psycopg looks whether the wait is over, in seconds: its own default.
LOOK_SECONDS = 0.1


@dataclass
class Patience:
    """How long each statement of a Database, and each commit, may take; None: as long as it takes."""

    seconds: float | None = None


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises psycopg.OperationalError, and is closed then, when the server has not answered within the patience.

    Whether a statement that was cut off was carried out is unknown, as for every broken connection. It can send
    statements before the answers to earlier ones have come (`fast.unanswered`).
    """

    patience: Patience
    _pipeline_mode: AbstractContextManager[Any] | None = None  # entered while answers are outstanding

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
            return await_(wait_async(gen, self.pgconn.socket, interval, timeout))
        return super().wait(gen, interval, timeout)

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


def bound(engine: sa.Engine) -> Patience:
    """Have all connections of this engine obey one Patience, which is returned. It may be changed at any time."""
    patience = Patience()

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = elsewhere(lambda: BoundedConnection.connect(*arguments, **options))
        connection.patience = patience
        return connection

    event.listen(engine, "do_connect", connect)
    return patience
