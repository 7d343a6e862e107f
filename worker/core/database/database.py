"""Transactions on the database, and the connections to SQLite. Those to PostgreSQL are in `postgresql_engine`."""

import copy
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from inspect import get_annotations
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from onboarding_worker.core.database.audit_entries import ACT, Act
from onboarding_worker.core.database.bulk import fetched
from onboarding_worker.core.database.facts import OBSERVERS, FactObserver
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.on_loop import elsewhere
from onboarding_worker.core.database.fast.unanswered import ALONE
from onboarding_worker.core.database.journal import JOURNAL, Journal
from onboarding_worker.core.database.outages import DISK_FULL, naming_outages
from onboarding_worker.core.database.tables.types import NotKnown, UnknownWord, UtcDateTime
from onboarding_worker.core.foundation.clock import ProcessClock, monotonic
from onboarding_worker.core.foundation.private_files import new_file
from onboarding_worker.core.foundation.tls import Tls

# Long enough for a write transaction of another process (an import during a `run`), short enough to be noticed.
SQLITE_BUSY_SECONDS = 30
# The clock of a process that is so far from the database's stood still, or jumped: it is set at once, and not only when
# the timekeeper does.
STOOD_STILL = timedelta(seconds=1)
# With less than this SQLite's disk counts as full, in bytes: its write-ahead log grows by as much before it is emptied.
FULL = 10 << 20
UTF8 = "UTF8"  # PostgreSQL's word
# `THERE_IS.where(…)`: true if such a row exists. Reads no column: a role that reports may not read all of a table's.
THERE_IS = sa.exists(sa.literal_column("1"))
UNSAID = Act("unknown", "python")
Made = TypeVar("Made")
Row = TypeVar("Row")
T = TypeVar("T")


def _make_private(url: str) -> None:
    """Make a SQLite file that only its owner can read, as the key beside it. SQLite's other files get its mode.

    SQLite follows a link to a file that is not there yet, and makes that file readable for all.
    """
    file = sa.make_url(url).database
    if file and file != ":memory:" and not file.startswith("file:"):
        with suppress(OSError):  # the file exists, or SQLite reports why it cannot be made
            os.close(new_file(os.path.realpath(file)))


def is_there(url: str) -> bool:
    """False for a SQLite file that does not exist; any other database may be there."""
    file = sa.make_url(url).database if url.startswith("sqlite") else None
    return file is None or Path(file).exists()


class Database:
    """Transactions on one database. A Database must not cross a fork: each process makes its own.

    An outage (`outages.is_outage`) is raised as `sqlalchemy.exc.OperationalError`, whatever the driver calls it: the
    database cannot be reached or restarts, a connection breaks, a lock is not granted in time, no connection of the
    pool is free, a right or a table is missing. A row that the database refuses is raised as another SQLAlchemy error.
    No error text contains the values of a statement.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        tls: Tls | None = None,
        observers: Sequence[FactObserver] = (),
        act: Act = UNSAID,
        journal: Journal | None = None,
    ) -> None:
        """`connections` is the size of the pool: how many connections the process may use at the same time.

        `tls`: PostgreSQL's certificate is verified; None: as the URL says. `observers` get the facts (`facts`).
        `act` is what the audit log says of changes.
        `journal`: the file beside the database, if it has one.
        """
        self.is_sqlite = url.startswith("sqlite")
        self.has_own_time = False  # whether leases are checked by the database's own time
        self._process_clock: ProcessClock | None = None  # set by it when this process has stood still
        # When the server last said that its disk is full, in monotonic seconds; one list for all copies.
        self._full_at: list[float] = []
        if self.is_sqlite:
            _make_private(url)
            arguments = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
            self.engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            event.listen(self.engine, "invalidate", _end_transaction)
        else:
            # Imported here: psycopg, which a process on SQLite does not need.
            from onboarding_worker.core.database.postgresql_engine import engine_of

            self.engine, self._patience = engine_of(url, connections=connections, tls=tls)
            event.listen(self.engine, "handle_error", self._note_full_disk)
        self.engine.update_execution_options(**{OBSERVERS: observers, ACT: act, JOURNAL: journal})
        self._journal = journal

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that writes nothing: on SQLite it does not wait for a writer."""
        with (
            naming_outages(),
            self._connect().execution_options(onboarding_read=True) as connection,
            connection.begin(),
        ):
            yield connection

    def rows(self, query: sa.Executable, given: Mapping[str, Any] | None = None) -> list[Any]:
        """What `fetch` gives for one query, in a transaction of its own that writes nothing."""
        with self.read() as connection:
            return fetch(connection, query, given)

    def first(self, query: sa.Executable, given: Mapping[str, Any] | None = None) -> Any:
        """The query's first row, or None; as `rows`."""
        with self.read() as connection:
            return connection.execute(query, given).first()

    def value(self, query: sa.Executable, given: Mapping[str, Any] | None = None) -> Any:
        """The first column of the query's first row, None without a row; as `rows`."""
        with self.read() as connection:
            return connection.execute(query, given).scalar()

    def in_order(self, query: sa.Select[*tuple[Any, ...]], by: Any, *, chunk: int, after: Any = None) -> Iterator[Any]:
        """The query's rows in the order of a unique column that it selects, those behind `after`; a chunk at a time."""
        query = query.order_by(by).limit(chunk)
        while True:
            rows = self.rows(query if after is None else query.where(by > after))
            yield from rows
            if len(rows) < chunk:
                return
            after = getattr(rows[-1], by.key)

    @contextmanager
    def write(self, within: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """A transaction, committed at the end or rolled back on an exception; with `within`, a part of that one."""
        if within is not None:
            # A caller's own engine does not know the observers, nor who acts, nor what is noted.
            ours = self.engine.get_execution_options()
            yield within.execution_options(**{name: ours[name] for name in (OBSERVERS, ACT, JOURNAL)})
            return
        with naming_outages(), self._connect() as connection, self.changing(connection):
            yield connection

    @contextmanager
    def changing(self, connection: sa.Connection) -> Iterator[None]:
        """As `write`, on a connection that the caller keeps."""
        counts = tally.Tally()
        connection.execution_options(**{tally.OPTION: counts})
        with connection.begin():
            yield
            tally.write(connection)
            if self._journal is not None:
                self._journal.add(counts.noted)
        for follow in counts.committed:
            follow()

    def change(self, statement: sa.Executable, given: Sequence[Mapping[str, Any]] | None = None) -> int:
        """Execute one statement in a transaction of its own; returns how many rows it has changed."""
        with self.write() as connection:
            return connection.execute(statement, given).rowcount

    def _connect(self) -> sa.Connection:
        """A connection of the pool. If none is free, this waits for the pool or the network; on SQLite for neither."""
        pool = self.engine.pool
        at_once = self.is_sqlite or (isinstance(pool, sa.QueuePool) and pool.checkedin() > 0)
        return self.engine.connect() if at_once else elsewhere(self.engine.connect)

    def give_up_after(self, patience: timedelta) -> None:
        """From now on, take a server that does not answer a statement within this time for an outage.

        For processes that work under leases. A report or a migration may take long, so this is not the default.
        """
        if not self.is_sqlite:
            self._patience.seconds = patience.total_seconds()

    def need_not_last(self) -> None:
        """SQLite: commits do not wait for the disk. Before the first connection, for a database that is thrown away."""
        event.listen(self.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))

    def forget_erased(self) -> bool:
        """SQLite: empty the write-ahead log, which has what rows held before. False: a process still reads it.

        PostgreSQL overwrites old versions of rows by its own vacuum.
        """
        if not self.is_sqlite:
            return True
        with naming_outages(), closing(self.engine.raw_connection()) as connection:  # not within a transaction
            try:
                busy, _, _ = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:  # a raw connection raises the driver's own, such as for a full disk
                raise sa.exc.OperationalError(None, None, error, hide_parameters=True) from None
        return not busy

    def why_nothing_is_written(self) -> str:
        """Why the database takes no writes, in words; "": it does, as far as can be seen without writing."""
        if not self.is_sqlite:
            with self.read() as connection:
                read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
            if not read_only:
                return ""
            self.engine.dispose()  # these connections stay so, also where new ones take writes
            return "the database server is read-only, or a standby"
        file = self.engine.url.database
        if not file or file == ":memory:" or shutil.disk_usage(Path(file).resolve().parent).free >= FULL:
            return ""
        return "the database's disk is full: make space"

    def is_full(self, *, within: float) -> bool:
        """Whether the server has refused a write of this process for a full disk, so many seconds ago at most."""
        return any(monotonic() - at < within for at in self._full_at)

    def _note_full_disk(self, context: sa.engine.ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == DISK_FULL:
            self._full_at[:] = [monotonic()]

    def why_it_takes_no_tables(self) -> str:
        """Why its role cannot make the tables in the database, in words; "": it can."""
        if self.is_sqlite:
            return ""
        if unwritable := self.why_nothing_is_written():
            return f"{unwritable}: let its URL name one that takes writes, or switch default_transaction_read_only off"
        query = "has_schema_privilege(current_schema(), 'CREATE'), quote_ident(current_schema()), quote_ident(user)"
        may, schema, role = self.first(sa.text(f"SELECT {query}"))
        place = f"the schema {schema}" if schema else "any schema of its search_path"
        grant = f"GRANT USAGE, CREATE ON SCHEMA {schema or '…'} TO {role}"
        how = f"let its owner run `{grant}`, or let its URL name the owner"
        return "" if may else f"{role} may make no tables in {place}: {how}"

    def why_it_holds_not_every_text(self) -> str:
        """Why the database cannot hold every name, in words; "": it can."""
        if self.is_sqlite:
            return ""
        with self.read() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding == UTF8:
            return ""
        return (
            f"the database's encoding is {encoding}, which cannot hold every name: make another one"
            " (`CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`), and name it in [database] url"
        )

    def trust_its_time(self, clock: ProcessClock) -> None:
        """From now on, check leases by PostgreSQL's own time, and this clock too. Not where a test sets the time."""
        self.has_own_time, self._process_clock = not self.is_sqlite, clock

    def now(self) -> datetime:
        """PostgreSQL's own time, aware. SQLite has none: its time is that of the process that works on it."""
        # Outside a transaction: one round trip, not two. Dispatchers ask after each claim.
        with naming_outages(), self._connect().execution_options(**{ALONE: True}) as connection:
            if self._process_clock is None:
                return _time_of(connection)
            # A machine may be paused with its clocks, and call under leases that are over until its clock is set again.
            return _set_clock(connection, self._process_clock, if_off_by=STOOD_STILL)

    def set_clock(self, clock: ProcessClock) -> None:
        """Set the clock by PostgreSQL's time, to about half a round trip."""
        with self.read() as connection:
            connection.execute(sa.text("SELECT 1"))  # connecting takes long: not between the two readings
            _set_clock(connection, clock)

    def acting(self, act: Act) -> "Database":
        """The same database, over the same connections, whose changes the audit log ascribes to this act."""
        other = copy.copy(self)
        other.engine = self.engine.execution_options(**{ACT: act})
        return other

    def close(self) -> None:
        self.engine.dispose()


_THEIR_TIME = sa.select(sa.func.clock_timestamp(type_=UtcDateTime()))


def _time_of(connection: sa.Connection) -> datetime:
    now: datetime = connection.execute(_THEIR_TIME).scalar_one()
    return now


def _set_clock(connection: sa.Connection, clock: ProcessClock, *, if_off_by: timedelta = timedelta(0)) -> datetime:
    """Set the clock by the database's time, where it is so far from it or more. Returns the database's time."""
    before = clock.elapsed()
    theirs = _time_of(connection)
    if abs(theirs - clock()) >= if_off_by:
        clock.measured(before=before, theirs=theirs, after=clock.elapsed())
    return theirs


def fetch(connection: sa.Connection, query: sa.Executable, given: Mapping[str, Any] | None = None) -> list[Any]:
    """All rows of a query whose columns are read by name, as named tuples."""
    return fetched(connection.execute(query, given))


def made_of(kind: Callable[..., Made], row: Any, /, **more: Any) -> Made:
    """A dataclass or named tuple: its fields are the row's columns of the same names, but for those of `more`."""
    names = [name for name in get_annotations(kind) if name in row._fields and name not in more]
    return kind(**{name: getattr(row, name) for name in names}, **more)


def known(row: Row) -> Row:
    """The row. Raises NotKnown, with no value in its text, if it has an UnknownWord."""
    if UnknownWord.any_made and isinstance(row, tuple | sa.Row) and UnknownWord in map(type, row):
        raise NotKnown("a newer release, or a person, wrote a word that this release does not know")
    return row


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction control begins a transaction at the first write, which can then fail as locked.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a written attempt must survive a power cut. Otherwise its call could be made twice.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # What is erased or removed is overwritten in the file: a build of SQLite decides otherwise by default.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _end_transaction(connection: Any, _record: Any, _error: BaseException | None) -> None:
    """Roll back what a connection has begun that is thrown away, as after Ctrl-C in the middle of a statement.

    Its closing alone does not: while the traceback keeps a cursor, SQLite keeps the connection, and its lock with it.
    The stop of the batch that was interrupted waited for that lock, for as long as SQLite lets it.
    """
    with suppress(sqlite3.Error):
        connection.rollback()


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("onboarding_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
