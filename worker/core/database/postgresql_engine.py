"""Connections to PostgreSQL: their settings, the check of those that were idle, and how long they wait.

A server that hangs (a stalled disk, an old primary after a failover) keeps its network alive: its kernel acknowledges
every byte, so that no setting of the connection ends the wait. Only the client can.
"""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from psycopg.types.array import ListBinaryDumper
from psycopg.waiting import wait_async
from sqlalchemy import event
from sqlalchemy.util import await_

from onboarding_worker.core.database.fast.on_loop import elsewhere, is_on_loop
from onboarding_worker.core.database.fast.unanswered import let_go_on
from onboarding_worker.core.database.outages import leave_lost_servers
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.tls import Tls

CONNECT_SECONDS = 10
# A worker that stops in the middle of a transaction (SIGSTOP, a frozen machine) keeps its row locks, among them the
# lock of the budget's row. The database ends this transaction before the waiting transactions reach LOCK_SECONDS.
IDLE_IN_TRANSACTION_SECONDS = 10
LOCK_SECONDS = 15
# Detects a database host that vanishes without closing the connection: no acknowledgement, or no data, for this long.
SILENCE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # milliseconds
}
# A connection that was used more recently than this is not checked. The sweep looks once a second: an idle process
# would ask the database twice as often.
CHECK_AFTER_SECONDS = 5.0
USED_AT = "onboarding_used_at"
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


def engine_of(url: str, *, connections: int, tls: Tls | None) -> tuple[sa.Engine, Patience]:
    """The engine, as `Database` describes it, and how long its connections wait for an answer: to be changed at any
    time."""
    given = sa.make_url(url)
    ours: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "onboarding-worker",
        "client_encoding": "UTF8",  # whatever the role or the database has set
        **SILENCE,
        **({"target_session_attrs": "read-write"} if _names_several_hosts(given) else {}),
        **(tls.libpq() if tls is not None else {}),
    }
    engine = sa.create_engine(
        given,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        # A setting in the URL takes precedence.
        connect_args={name: value for name, value in ours.items() if name not in given.query},
    )
    patience = Patience()

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = elsewhere(lambda: BoundedConnection.connect(*arguments, **options))
        connection.patience = patience
        return connection

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", _prepare_postgresql)
    _check_idle_connections(engine)
    let_go_on(engine)
    leave_lost_servers(engine)
    return engine, patience


def _names_several_hosts(url: sa.URL) -> bool:
    """Whether libpq would take the first server of several that answers, also a standby."""
    hosts = url.query.get("host", "")
    return not isinstance(hosts, str) or "," in hosts or "," in (url.host or "")


def _check_idle_connections(engine: sa.Engine) -> None:
    """Ping a connection before its use if it was idle: the server may have closed it meanwhile.

    A connection that was just used is not pinged. The pool's own check (`pool_pre_ping`) pings each time: an extra
    round trip and an extra transaction for each of ours. If the server closes the connection after its last use, a
    statement finds out.
    """

    def note_use(_connection: Any, record: Any) -> None:
        record.info[USED_AT] = monotonic()

    def check(connection: Any, record: Any, _proxy: Any) -> None:
        if monotonic() - record.info[USED_AT] < CHECK_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error:
            raise sa.exc.InvalidatePoolError from None  # the pool replaces all its connections before their next use

    event.listen(engine, "connect", note_use)
    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", check)


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # No statement_timeout: a report or a migration may take long, lock_timeout limits the wait for rows, and a server
    # that hangs keeps no time-out of its own (`give_up_after`). A claim reads small ranges of an index: the planner
    # reads whole tables with the default random_page_cost of 4. It also plans so for a table that is small, and keeps
    # that plan until the table's next ANALYZE: on a new database statements took 460 ms within the first minute. Where
    # no index serves, a table is still read, and its cost makes the planner compile the statement: so no jit.
    # Arrays go in their binary form: psycopg searches each value of the other one for characters to quote, which took
    # 9 microseconds for an encrypted value, and 0.5 so.
    connection.adapters.register_dumper(list, ListBinaryDumper)
    with connection.cursor() as cursor:
        cursor.execute(
            # `types.UtcDateTime` takes times as they come, and psycopg reads no other form of a date. The server, the
            # database or the role may have set other ones.
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';"
            " SET random_page_cost = 1.1; SET enable_seqscan = off; SET jit = off;"
            f" SET lock_timeout = '{LOCK_SECONDS}s';"
            f" SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'"
        )
    connection.commit()
