"""A connection to PostgreSQL that is given up when the server does not answer a statement for too long.

A server that hangs (a stalled disk, an old primary after a failover) keeps its network alive: its kernel acknowledges
every byte, so that no setting of the connection ends the wait. Only the client can.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.waiting import wait_async
from sqlalchemy import event
from sqlalchemy.util import await_

from worker.core.database.fast.on_loop import elsewhere, is_on_loop
from worker.core.database.fast.pipeline import GoesOn
from worker.core.foundation.clock import monotonic

# How often psycopg looks whether the wait is over, in seconds: its own default.
LOOK_SECONDS = 0.1


@dataclass
class Patience:
    """How long each statement of a Database, and each commit, may take; None: as long as it takes."""

    seconds: float | None = None


class BoundedConnection(GoesOn):
    """Raises psycopg.OperationalError, and is closed then, when the server has not answered within the patience.

    Whether a statement that was cut off was carried out is unknown, as for every broken connection.
    """

    patience: Patience

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


def bound(engine: sa.Engine) -> Patience:
    """Have all connections of this engine obey one Patience, which is returned. It may be changed at any time."""
    patience = Patience()

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = elsewhere(lambda: BoundedConnection.connect(*arguments, **options))
        connection.patience = patience
        return connection

    event.listen(engine, "do_connect", connect)
    return patience
