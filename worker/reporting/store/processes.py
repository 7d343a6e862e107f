"""Which processes work, and whether wake-ups reach them: what each says in the database while it runs. That it runs
it says every few seconds; and when the last sweep began, and wake-ups came. A process that was killed says nothing:
after `GONE_AFTER` its row no longer counts, and the next process that starts removes it. What needs a person: `waits`.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database, made_of
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.tables import ProcessRow, Timer
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.foundation.version import __version__

SAY_EVERY = timedelta(seconds=5)
GONE_AFTER = timedelta(seconds=20)
REMOVED_AFTER = timedelta(hours=1)
SWEEP, BEAT, WAKE, FULL = "sweep", "beat", "wake", "full"
log = logging.getLogger(__name__)
END_SECONDS = 2.0  # how long an end waits for the database, which may hang

# These kinds of processes claim rows; the others only receive.
WORK = frozenset({"run", "up", "worker"})
# These take events from the queues of a broker.
TAKES_EVENTS = frozenset({"bus", "up"})
IMPORT = "import"
# A process says every five seconds that it runs: one that is late by as much may be busy, or was killed.
SILENT_AFTER = timedelta(seconds=10)
# Beat sends a wake-up each second. Workers look for due work by themselves once none has come for so long.
BEAT_IS_MISSING_AFTER = timedelta(seconds=15)
# Then they wake each other for what is due, over the broker. A worker that works alone takes one in so long at least.
WAKE_UPS_MISSING_AFTER = timedelta(minutes=1)
# A worker sweeps by itself every ten seconds then: one that has not is busy, or was killed.
SWEEP_IS_MISSING_AFTER = timedelta(seconds=30)


class Wakening(NamedTuple):
    """When the last wake-ups came to workers: the scheduler's, and another, which needs the broker and no scheduler.
    `swept_at`: when a worker last looked for due work, whether or not a wake-up came."""

    beat_at: datetime | None
    other_at: datetime | None = None
    swept_at: datetime | None = None

    @classmethod
    def of(cls, timers: Mapping[str, datetime]) -> Self:
        return cls(timers.get(BEAT), timers.get(WAKE), timers.get(SWEEP))

    def beat_is_missing(self, now: datetime) -> bool:
        return self.beat_at is None or now - self.beat_at > BEAT_IS_MISSING_AFTER

    def others_come(self, now: datetime) -> bool:
        """Whether wake-ups came since the scheduler's ended: then the broker works."""
        if self.other_at is None or now - self.other_at > WAKE_UPS_MISSING_AFTER:
            return False
        return self.beat_at is None or self.other_at - self.beat_at > BEAT_IS_MISSING_AFTER

    def workers_sweep(self, now: datetime) -> bool:
        """Whether workers look for due work, with wake-ups or by themselves."""
        return self.swept_at is not None and now - self.swept_at <= SWEEP_IS_MISSING_AFTER

    def none_look(self, now: datetime) -> bool:
        """Whether no worker looks for due work, as far as the database knows."""
        return self.beat_is_missing(now) and not self.others_come(now) and not self.workers_sweep(now)


class Running(NamedTuple):
    """A process that runs. `batch_id`: the one batch that it works; None: all. `first_keys`: the ids of the keys with
    which it encrypts and hashes, separated by a space."""

    kind: str
    host: str
    pid: int
    release: str
    batch_id: int | None
    started_at: datetime
    seen_at: datetime
    first_keys: str = ""

    def silence_in_words(self, now: datetime) -> str:
        """When the process was last seen, if that is a while ago; empty: it was seen just now."""
        silence = now - self.seen_at
        return f"last seen {silence.seconds} s ago" if silence >= SILENT_AFTER else ""


def kinds_at_work(processes: Iterable[Running], batch_id: int) -> set[str]:
    """The kinds of the processes that work this batch. Workers alone begin nothing without a wake-up."""
    return {one.kind for one in processes if one.kind in WORK and one.batch_id in (None, batch_id)}


def no_wake_up(wakening: Wakening) -> str:
    at = wakening.beat_at
    return f"no wake-up of the scheduler has come {'yet' if at is None else f'since {written(at)}'}"


class Processes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def started(self, id_: str, running: Running) -> None:
        """Add a process, and remove processes that were killed long ago."""
        with self._database.write() as connection:
            old = ProcessRow.seen_at < running.seen_at - REMOVED_AFTER
            connection.execute(sa.delete(ProcessRow).where(sa.or_(old, ProcessRow.id == id_)))
            connection.execute(sa.insert(ProcessRow).values(id=id_, **running._asdict()))

    def seen(self, id_: str, *, now: datetime) -> bool:
        """Say that the process runs; False if its row is gone: then it is to be added again."""
        return self._database.change(sa.update(ProcessRow).where(ProcessRow.id == id_).values(seen_at=now)) > 0

    def ended(self, id_: str) -> None:
        self._database.change(sa.delete(ProcessRow).where(ProcessRow.id == id_))

    def running(self, *, now: datetime) -> list[Running]:
        """The processes that run now, the first started first."""
        query = sa.select(ProcessRow.__table__).where(ProcessRow.seen_at > now - GONE_AFTER)
        return [made_of(Running, row) for row in self._database.rows(query.order_by(ProcessRow.started_at))]

    def last(self) -> dict[str, datetime]:
        """When the last sweep began, the last wake-ups came, the scheduler's and another, and so on; by name."""
        return {row.name: row.at for row in self._database.rows(sa.select(Timer.name, Timer.at))}

    def note_wake_up(self, *, now: datetime, scheduled: bool = True) -> None:
        """Record that a wake-up of the scheduler came, and that a sweep begins; else that one of a worker or a command
        came: the broker works, whatever the scheduler does."""
        with self._database.write() as connection:
            connection.execute(set_timer(connection, *((BEAT, SWEEP) if scheduled else (WAKE,)), now=now))

    def note_full_disk(self, *, now: datetime) -> None:
        """Record that the server has just refused this process a write for a full disk. It may take this one, as it
        takes what processes say: these rows need no more space."""
        if self._database.is_full(within=GONE_AFTER.total_seconds()):
            with self._database.write() as connection:
                connection.execute(set_timer(connection, FULL, now=now))

    def claim_sweep(self, *, older_than: timedelta, now: datetime) -> bool:
        """True if the last sweep began longer ago than this; then one process alone gets True, and is to sweep."""
        if is_younger(self._database, SWEEP, than=older_than, now=now):
            return False
        with self._database.write() as connection:
            return claim_timer(connection, SWEEP, older_than=older_than, now=now)


def is_younger(database: Database, timer: str, *, than: timedelta, now: datetime) -> bool:
    """Whether the timer was set later than so long ago: the usual case, found without the lock of `claim_timer`."""
    last = database.value(sa.select(Timer.at).where(Timer.name == timer))
    return last is not None and last > now - than


def claim_timer(connection: sa.Connection, timer: str, *, older_than: timedelta, now: datetime) -> bool:
    """Set the timer if it is so old, or new. Of several processes one gets True; the row is locked until its commit."""
    set_ = set_timer(connection, timer, now=now, where=Timer.at <= now - older_than)
    return connection.execute(set_.returning(Timer.name)).first() is not None


def set_timer(
    connection: sa.Connection, *timers: str, now: datetime, where: sa.ColumnElement[bool] | None = None
) -> Any:
    """The statement that sets these timers; `where`: only those that are so, and new ones."""
    new = insert(Timer, connection.dialect.name).values([{"name": name, "at": now} for name in timers])
    return new.on_conflict_do_update(index_elements=["name"], set_={"at": now}, where=where)


@dataclass(eq=False)
class Heartbeat:
    """Writes this process's row every few seconds, in a thread of its own: the loop may be busy, or wait. `owner` names
    the process, `kind` is its command. `store` writes what the process has counted; it blocks. `first_keys`,
    `batch_id`: see `Running`."""

    processes: Processes
    owner: str
    clock: Clock
    kind: str
    _: KW_ONLY
    store: Callable[[], None]
    first_keys: str
    batch_id: int | None

    def __post_init__(self) -> None:
        self._started_at = self.clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Say it now and from now on, in the thread. A database that cannot be reached delays nothing here."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the row, before the database is closed."""
        self._ended.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._say()
                self.processes.note_full_disk(now=self.clock())
                self.store()
            except sa.exc.SQLAlchemyError as error:
                log.debug("no heartbeat was written: %s", reason(error))
            if self._ended.wait(SAY_EVERY.total_seconds()):
                break
        with suppress(sa.exc.SQLAlchemyError):
            self.store()
            self.processes.ended(self.owner)

    def _say(self) -> None:
        now = self.clock()
        if self.processes.seen(self.owner, now=now):
            return
        process = (self.kind, socket.gethostname()[:64], os.getpid(), __version__, self.batch_id)
        self.processes.started(self.owner, Running(*process, self._started_at, now, self.first_keys))
