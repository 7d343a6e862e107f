"""The engine: one place that knows how SQLite and PostgreSQL want to be spoken to, and which of their failures pass."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy import event

from worker.domain.model.backoff import Backoff
from worker.foundation.clock import SharedClock, monotonic

T = TypeVar("T")

# Long enough for another process's write transaction (an import beside a `run`), short enough to be noticed.
SQLITE_BUSY_SECONDS = 30
CONNECT_SECONDS = 10
# A worker that stands still in the middle of a transaction (SIGSTOP, a frozen machine) holds its rows' locks, the
# budget's among them. The database ends that transaction before those who wait for the rows give up.
IDLE_IN_TRANSACTION_SECONDS = 10
LOCK_SECONDS = 15
# A database host that vanishes without a word: nothing that was sent is acknowledged, or nothing comes for this long.
SILENCE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # milliseconds
}
# PostgreSQL ended one of several transactions so that the others could go on; nothing of it was kept.
SACRIFICED = frozenset({"40001", "40P01"})  # serialization failure, deadlock
DEADLOCK_BACKOFF = Backoff(first=timedelta(seconds=0.1), most=timedelta(seconds=1), attempts=5)
# The server that answers has become a standby: its successor will answer soon.
READ_ONLY = "25006"
# A connection that was used less long ago is taken to be there still.
ASK_AFTER_SECONDS = 1.0
USED_AT = "onboarding_used_at"
# The execution option of all connections that says who is told of what happens over them (`store.outbox`).
SUBSCRIPTIONS = "onboarding_subscriptions"


class Database:
    """Transactions on one database. Not to be carried over a fork: make one in each process.

    What passes by itself (the database is away, restarts, cuts a connection, a lock is not to be had, no connection
    is free) is raised as `sqlalchemy.exc.OperationalError`, whatever the driver calls it; what is a bug, or bad data,
    is any other of SQLAlchemy's errors. No error's text holds a statement's values.
    """

    def __init__(self, url: str, *, connections: int = 8, subscriptions: object = None) -> None:
        """`connections` bounds the pool: what the process's database threads may use at the same time.

        `subscriptions` says whom changes of state are to be told of: a `store.outbox.Subscriptions`. None: nobody.
        """
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            arguments = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
            self.engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            given = sa.make_url(url)
            ours: dict[str, Any] = {
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "onboarding-worker",
                **SILENCE,
            }
            self.engine = sa.create_engine(
                given,
                pool_size=connections,
                max_overflow=0,
                hide_parameters=True,
                # What the URL says itself, wins.
                connect_args={name: value for name, value in ours.items() if name not in given.query},
            )
            event.listen(self.engine, "connect", _prepare_postgresql)
            _ask_whether_connections_live(self.engine)
        self.engine.update_execution_options(**{SUBSCRIPTIONS: subscriptions})

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that writes nothing: on SQLite it does not wait for a writer."""
        with (
            naming_what_passes(),
            self.engine.connect().execution_options(onboarding_read=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def write(self, within: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or rolled back by an exception; or a part of one, `within`."""
        if within is not None:
            yield within
            return
        with naming_what_passes(), self.engine.begin() as connection:
            yield connection

    def set_clock(self, clock: SharedClock) -> None:
        """Set the clock by PostgreSQL's time, to about half a round trip."""
        with self.read() as connection:
            connection.execute(sa.text("SELECT 1"))  # connecting takes long: not between the two readings
            before = clock.own()
            theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
            after = clock.own()
        clock.measured(before=before, theirs=theirs, after=after)

    def close(self) -> None:
        self.engine.dispose()


def fetch(connection: sa.Connection, query: sa.Executable, given: Mapping[str, Any] | None = None) -> list[sa.Row[Any]]:
    """All rows of a query whose columns are read by name."""
    return list(connection.execute(query, given))


def outlive_deadlocks(
    transaction: Callable[[], T],
    *,
    backoff: Backoff = DEADLOCK_BACKOFF,
    jitter: Callable[[], float] = random.random,
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """Make one transaction, and make it anew when PostgreSQL gave it up for the sake of others (a deadlock).

    For a function whose effects are all in that one transaction, and that reads in it all that it decides on.
    Raises the last failure once `backoff` has no attempt left. `pause` is given seconds.
    """
    failures = 0
    while True:
        try:
            return transaction()
        except sa.exc.DBAPIError as error:
            failures += 1
            # The jitter differs, or the same two transactions would meet again.
            wait = backoff.after(failures, jitter())
            if getattr(error.orig, "sqlstate", None) not in SACRIFICED or wait is None:
                raise
        pause(wait.total_seconds())


def reason(error: sa.exc.SQLAlchemyError) -> str:
    """The first line of what the database or its driver said, for people. It names the server, never a value."""
    said = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).strip()
    return said.splitlines()[0] if said else type(error).__name__


@contextmanager
def naming_what_passes() -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise _passing(error) from None  # all of the pool's connections are in use
    except sa.exc.DBAPIError as error:
        # A transaction that the server ended for its idleness is an InternalError to the driver, and so are others.
        cut = error.connection_invalidated or getattr(error.orig, "sqlstate", None) == READ_ONLY
        if cut and error.orig is not None and not isinstance(error, sa.exc.OperationalError):
            raise _passing(error.orig) from None
        raise


def _passing(error: BaseException) -> sa.exc.OperationalError:
    return sa.exc.OperationalError(None, None, error, hide_parameters=True)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction control begins too late (at the first write, which can then fail as locked).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: an attempt that was written down must outlive a power cut, or its call would be made twice.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("onboarding_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _ask_whether_connections_live(engine: sa.Engine) -> None:
    """Ask a connection that was not used for a while before it is: the server may have ended it meanwhile.

    Not one that was just used, as the pool's own way does: that is a round trip, and a transaction of its own, for each
    of ours. Where the server ended it only now, a statement finds out.
    """

    def note_the_use(_connection: Any, record: Any) -> None:
        record.info[USED_AT] = monotonic()

    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        if monotonic() - record.info[USED_AT] < ASK_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error:
            raise sa.exc.InvalidatePoolError from None  # the pool makes it anew, and asks all others

    event.listen(engine, "connect", note_the_use)
    event.listen(engine, "checkin", note_the_use)
    event.listen(engine, "checkout", ask)


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # No statement_timeout: a report or a migration may take long, and those who wait for rows are bounded by
    # lock_timeout. Taking reads an index in small ranges: at a random_page_cost of 4 the planner reads whole tables.
    with connection.cursor() as cursor:
        cursor.execute(
            "SET random_page_cost = 1.1;"
            f" SET lock_timeout = '{LOCK_SECONDS}s';"
            f" SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'"
        )
    connection.commit()
