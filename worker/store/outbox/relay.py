"""The outbox's rows on their way to one target: which are next, and what came of them.

Each customer's go one after the other, in the order of their numbers, and one target is told by one process at a time.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.events.published import OutgoingEvent
from worker.domain.limits.budgets import BudgetRule, Lesson
from worker.store.base import bulk
from worker.store.base.database import Database, fetch, naming_temporary_failures
from worker.store.limits import budgets
from worker.store.tables import Outbox

Transaction = Callable[[], AbstractContextManager[sa.Connection]]
# PostgreSQL's advisory locks of those who tell a target: any number of ours, and the target's.
PUBLISHES = 1_415_923_788
# How much longer than a chunk may take its holder may be silent, before the database takes him for gone.
MARGIN = timedelta(seconds=30)
CHUNK = 500
_Before = aliased(Outbox)


class NotOurConnection(Exception):
    """The database is behind a pooler that shares sessions between transactions. The text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "the connection to the database is not ours for longer than a transaction, as behind PgBouncer with"
            " pool_mode = transaction: name the server itself in database.url, or a pool with pool_mode = session"
        )


@dataclass(frozen=True)
class Later:
    """A row that was not taken: due again then, or given up where that is None; `since` as the column has it."""

    number: int
    due_at: datetime | None
    since: datetime
    detail: str


@dataclass(frozen=True)
class TargetStatus:
    """How a target stands. `oldest` is when the first of what waits happened."""

    waiting: int
    given_up: int
    oldest: datetime | None


@contextmanager
def alone(database: Database, target: str, *, silence: timedelta) -> Iterator[Transaction | None]:
    """Be the only process that tells this target; None: another one is. On SQLite there is no other one.

    The lock is the connection's that the rows are removed on: whoever lost it cannot remove any. It ends with the
    connection, also where that is silent for longer than `silence`: a machine that vanished must not keep the others
    waiting for hours.

    A transaction raises NotOurConnection where a pooler has given the session to somebody else since the last one: the
    lock would be theirs as well. Each looks for a mark that was left in the session.
    """
    if database.is_sqlite:
        yield database.write
        return
    with naming_temporary_failures(), database.engine.connect() as connection:
        mark = str(uuid4())

        @contextmanager
        def transaction() -> Iterator[sa.Connection]:
            with connection.begin():
                if connection.execute(_MARKED).scalar_one_or_none() != mark:
                    raise NotOurConnection
                yield connection

        try:
            connection.execute(_MARK, {"mark": mark})
            mine = connection.execute(_LOCK, {"class": PUBLISHES, "target": _key(target)}).scalar_one()
            milliseconds = int((silence + MARGIN) / timedelta(milliseconds=1))
            connection.execute(_SILENCE, {"milliseconds": f"{milliseconds}ms"})  # PostgreSQL 14 and newer
            connection.commit()
            yield transaction if mine else None
        finally:
            connection.invalidate()  # what was set, and the lock, are for nobody else


def sessions_are_ours(database: Database) -> bool:
    """Whether a session is one connection's for longer than a transaction: for a look before the first use.

    A mark is left in one, and a transaction opened over a second connection. A pooler that shares sessions either lends
    it the marked one, or has another one for the first connection then, unless it chooses by chance.
    """
    if database.is_sqlite:
        return True
    mark = str(uuid4())
    with naming_temporary_failures(), database.engine.connect() as connection:
        try:
            connection.execute(_MARK, {"mark": mark})
            connection.commit()
            with database.read() as beside:
                lent = beside.execute(_MARKED).scalar_one_or_none() == mark
                return not lent and connection.execute(_MARKED).scalar_one_or_none() == mark
        finally:
            connection.invalidate()


_MARK = sa.text("SELECT set_config('onboarding.tells', :mark, false)")
_MARKED = sa.text("SELECT current_setting('onboarding.tells', true)")
_LOCK = sa.text("SELECT pg_try_advisory_lock(:class, :target)")
_SILENCE = sa.text("SELECT set_config(name, :milliseconds, false) FROM pg_settings WHERE name = 'idle_session_timeout'")


def _key(target: str) -> int:
    return zlib.crc32(target.encode()) - 2**31


def _next(target: str, now: datetime) -> list[sa.ColumnElement[bool]]:
    """That a row is the first of its customer that the target is yet to be told, and is due."""
    earlier = sa.exists().where(
        _Before.customer_id == Outbox.customer_id,
        _Before.target == Outbox.target,
        _Before.id < Outbox.id,
        _Before.due_at.is_not(None),
    )
    return [Outbox.target == target, Outbox.due_at <= now, Outbox.due_at.is_not(None), ~earlier]


def due(database: Database, targets: Iterable[str], *, now: datetime) -> list[str]:
    """Those of these targets that may be told of something now."""
    asked = [sa.select(sa.literal(one).label("target")).where(sa.exists().where(*_next(one, now))) for one in targets]
    if not asked:
        return []
    with database.read() as connection:
        return list(connection.execute(sa.union_all(*asked)).scalars())


def unpublished(database: Database, targets: Iterable[str], *, before: datetime) -> list[str]:
    """Those of these targets that may be told of something since `before`, and that no process is telling.

    On SQLite nobody: the one process tells by itself, and while there is none all waits.
    """
    if database.is_sqlite or not (late := due(database, targets, now=before)):
        return []
    with database.read() as connection:
        return [
            one
            for one in late
            if not connection.execute(_PUBLISHING_NOW, {"class": PUBLISHES, "target": _key(one)}).scalar()
        ]


_PUBLISHING_NOW = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND granted"
    " AND classid::bigint = :class AND objid::bigint = (CAST(:target AS bigint) & 4294967295) AND objsubid = 2)"
)


def next_events(connection: sa.Connection, target: str, *, most: int, now: datetime) -> list[OutgoingEvent]:
    """The first due events, in the order of their numbers, one of each customer."""
    rows = fetch(connection, sa.select(*_EVENT).where(*_next(target, now)).order_by(Outbox.id).limit(most))
    return [OutgoingEvent(*tuple(row)) for row in rows]


# In the order of `OutgoingEvent`.
_EVENT = (
    Outbox.id,
    Outbox.event_id,
    Outbox.kind,
    Outbox.customer_id,
    Outbox.data,
    Outbox.occurred_at,
    Outbox.since,
    Outbox.attempts,
)


def settle(
    connection: sa.Connection,
    rule: BudgetRule,
    *,
    taken: Sequence[int],
    later: Sequence[Later],
    lessons: Iterable[Lesson],
    now: datetime,
) -> None:
    """Remove what was taken, keep the rest for later, and remember how the target fared."""
    if taken:
        connection.execute(_REMOVE, {"ids": bulk.keys(taken)})
    values = [
        {
            "number": item.number,
            "new_due_at": item.due_at,
            "new_since": item.since,
            "new_detail": item.detail[:400],
        }
        for item in later
    ]
    _LATER.run(connection, values)
    budgets.learn(connection, rule, lessons, now=now)


_REMOVE = sa.delete(Outbox).where(bulk.among(Outbox.id, "ids"))
_LATER = bulk.Change(
    Outbox.id,
    {
        "due_at": sa.bindparam("new_due_at"),
        "since": sa.bindparam("new_since"),
        "attempts": Outbox.attempts + 1,
        "detail": sa.bindparam("new_detail"),
    },
    by="number",
)


def status(database: Database) -> dict[str, TargetStatus]:
    """How each target stands that anything is left for."""
    waiting = sa.func.count(Outbox.due_at)
    oldest = sa.func.min(sa.case((Outbox.due_at.is_not(None), Outbox.occurred_at), else_=None))
    query = sa.select(Outbox.target, waiting.label("waiting"), sa.func.count().label("all"), oldest.label("oldest"))
    with database.read() as connection:
        rows = fetch(connection, query.group_by(Outbox.target).order_by(Outbox.target))
    return {row.target: TargetStatus(row.waiting, row.all - row.waiting, row.oldest) for row in rows}


def waiting(database: Database, targets: Iterable[str]) -> int:
    """How many events these targets are yet to be told of."""
    query = sa.select(sa.func.count()).where(Outbox.target.in_(list(targets)), Outbox.due_at.is_not(None))
    with database.read() as connection:
        return connection.execute(query).scalar_one()


def given_up(database: Database, *, most: int) -> list[sa.Row[tuple[object, ...]]]:
    """The rows that were given up, the newest first: what they are, when they were, and why."""
    columns = (Outbox.target, *_EVENT, Outbox.detail)
    query = sa.select(*columns).where(Outbox.due_at.is_(None)).order_by(Outbox.since.desc(), Outbox.id.desc())
    with database.read() as connection:
        return fetch(connection, query.limit(most))


def again(database: Database, *, target: str | None, number: int | None, now: datetime) -> int:
    """Put rows that were given up back, to be repeated for as long as new ones; returns how many."""
    which = sa.select(Outbox.id).where(Outbox.due_at.is_(None))
    which = which.where(Outbox.target == target) if target is not None else which
    which = which.where(Outbox.id == number) if number is not None else which
    back = sa.update(Outbox).values(due_at=now, since=now, attempts=0)
    total = 0
    while True:  # in chunks: a subscriber that was away for a month has many
        with database.write() as connection:
            ids = list(connection.execute(which.order_by(Outbox.id).limit(CHUNK)).scalars())
            if ids:
                connection.execute(back.where(Outbox.id.in_(ids)))
        total += len(ids)
        if len(ids) < CHUNK:
            return total


def forget(database: Database, *, targets: Iterable[str], before: datetime) -> int:
    """Remove a chunk of rows that were given up before then, or are for nobody that is configured; returns how many."""
    gone = sa.or_(Outbox.due_at.is_(None), Outbox.target.not_in(list(targets)))
    with database.write() as connection:
        ids = list(connection.execute(sa.select(Outbox.id).where(gone, Outbox.since < before).limit(CHUNK)).scalars())
        if ids:
            connection.execute(sa.delete(Outbox).where(Outbox.id.in_(ids)))
    return len(ids)
