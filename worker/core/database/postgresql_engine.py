"""Connections to PostgreSQL: their settings, and the check of those that were idle."""

from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import event

from worker.core.database.bounded_connection import Patience, bound
from worker.core.database.fast.unanswered import let_go_on
from worker.core.database.outages import leave_lost_servers
from worker.core.foundation.clock import monotonic
from worker.core.foundation.tls import Tls

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


def engine_of(url: str, *, connections: int, tls: Tls | None) -> tuple[sa.Engine, Patience]:
    """The engine, as `Database` describes it, and how long its connections wait for an answer."""
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
    patience = bound(engine)
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
