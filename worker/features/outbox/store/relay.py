"""Publishing of the outbox's rows to one target: which rows are next, and their results.

The events of one customer are published one after the other, in the order of their numbers. One process at a time
publishes to a target.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.outages import naming_outages
from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.rules.budgets import BudgetRule, grant
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.events.cloudevents import OutgoingEvent

Publishing = Callable[[], AbstractContextManager[sa.Connection]]
# PostgreSQL's advisory lock for publishing to a target has two keys: this arbitrary number, and the target's number.
PUBLISHES = 1_415_923_788
# The holder of the lock may be silent for the time of a chunk and this margin. Then the database ends its session.
MARGIN = timedelta(seconds=30)
CHUNK = 500
MOST_COUNTED = 10_000  # events of a target: `status` must cost little when a month's events wait
_Before = aliased(Outbox)


class SessionNotKept(Exception):
    """The database is behind a pooler that shares sessions between transactions. The error text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "the database connection does not keep its session for longer than a transaction, as behind PgBouncer with"
            " pool_mode = transaction: set database.url to the server itself, or to a pool with pool_mode = session"
        )


class Later(NamedTuple):
    """A row that the target did not accept. It is due again at `due_at`; None: given up. `since`: as the column."""

    number: int
    new_due_at: datetime | None
    new_since: datetime
    new_detail: str


def settle(
    publishing: Publishing,
    rule: BudgetRule,
    *,
    accepted: Sequence[int] = (),
    later: Sequence[Later] = (),
    call_outcomes: Sequence[CallOutcome] = (),
    most: int,
    due_at: datetime,
    now: datetime,
) -> list[OutgoingEvent]:
    """Remove the accepted rows, keep the other rows for later, and apply the outcomes to the target's budget. Returns
    the first events that were due at `due_at`, in the order of their numbers, at most one for each customer; no more
    than the target's budget allows now."""
    with publishing() as connection:
        if accepted:
            connection.execute(_REMOVE, {"ids": bulk.keys(accepted)}, execution_options=UNANSWERED)
        _LATER.run(connection, [one._asdict() for one in later])
        if call_outcomes:
            budgets.apply_outcomes(connection, rule, call_outcomes, now=now)
        state = budgets.read(connection, rule.name)
        slots = grant(state, rule, most=most, now=now, horizon=timedelta(0)).slots.count
        query = sa.select(*_EVENT).where(*_next(rule.name, due_at)).order_by(Outbox.id).limit(slots)
        return [OutgoingEvent(*tuple(row)) for row in fetch(connection, query)] if slots else []


@contextmanager
def publishing_lock(database: Database, target: str, *, silence: timedelta) -> Iterator[Publishing | None]:
    """Hold the lock for publishing to this target. Yields what opens each transaction of it; None if another process
    holds it. SQLite has one process.

    The lock belongs to the connection that removes the rows: a process that lost the lock cannot remove rows. The lock
    ends with the connection, also if the connection is silent for longer than `silence`: a machine that vanished must
    not block the other processes for hours.

    A transaction raises SessionNotKept if a pooler has given the session to another client since the last
    transaction: that client would hold the lock as well. To find out, each transaction reads a mark in the session.
    """
    if database.is_sqlite:
        yield database.write
        return
    with naming_outages(), database.engine.connect() as connection:
        mark = str(uuid4())

        @contextmanager
        def transaction() -> Iterator[sa.Connection]:
            with database.changing(connection):
                if connection.execute(_MARKED).scalar_one_or_none() != mark:
                    raise SessionNotKept
                yield connection

        lock = {"class": PUBLISHES, "target": _key(target)}
        milliseconds = f"{int((silence + MARGIN) / timedelta(milliseconds=1))}ms"
        try:
            mine = connection.execute(_TAKE, {**lock, "mark": mark, "silence": milliseconds}).first() is not None
            connection.commit()
            yield transaction if mine else None
            if mine:
                with transaction():
                    connection.execute(_GIVE_BACK, lock)
        except BaseException:
            connection.invalidate()  # the lock and the settings must not go back to the pool
            raise


def keeps_its_session(database: Database) -> bool:
    """True if a connection keeps its session for longer than a transaction. A check before the first use. The check
    leaves a mark in the first connection's session and opens a transaction over a second connection. A pooler that
    shares sessions either gives the marked session to the second connection, or another session to the first
    connection. A pooler that chooses sessions at random can pass the check."""
    if database.is_sqlite:
        return True
    mark = str(uuid4())
    with naming_outages(), database.engine.connect() as connection:
        try:
            connection.execute(_MARK, {"mark": mark})
            connection.commit()
            with database.read() as second:
                shared = second.execute(_MARKED).scalar_one_or_none() == mark
                return not shared and connection.execute(_MARKED).scalar_one_or_none() == mark
        finally:
            connection.invalidate()


_MARK = sa.text("SELECT set_config('onboarding.tells', :mark, false)")
_MARKED = sa.text("SELECT current_setting('onboarding.tells', true)")
# Without the lock nothing is set. PostgreSQL 14 and newer have the second setting.
_TAKE = sa.text(
    "SELECT set_config('onboarding.tells', :mark, false), "
    "(SELECT set_config(name, :silence, false) FROM pg_settings WHERE name = 'idle_session_timeout') "
    "WHERE pg_try_advisory_lock(:class, :target)"
)
_GIVE_BACK = sa.text(
    "SELECT set_config('onboarding.tells', '', false), "
    "(SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name = 'idle_session_timeout'), "
    "pg_advisory_unlock(:class, :target)"
)


def _key(target: str) -> int:
    return zlib.crc32(target.encode()) - 2**31


def _next(target: str, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Conditions: the row is due, and is its customer's first unpublished row for the target."""
    earlier = sa.exists().where(
        _Before.customer_id == Outbox.customer_id,
        _Before.target == Outbox.target,
        _Before.id < Outbox.id,
        _Before.due_at.is_not(None),
    )
    return [Outbox.target == target, Outbox.due_at <= now, Outbox.due_at.is_not(None), ~earlier]


def due(database: Database, targets: Iterable[str], *, now: datetime) -> list[str]:
    """The targets that have a due event."""
    queries = [
        sa.select(sa.literal(target).label("target")).where(sa.exists().where(*_next(target, now)))
        for target in targets
    ]
    if not queries:
        return []
    return [row.target for row in database.rows(sa.union_all(*queries))]


def unpublished(database: Database, targets: Iterable[str], *, before: datetime) -> list[str]:
    """The targets that have had a due event since `before`, and that no process publishes to. Empty on SQLite: its one
    process publishes by itself."""
    if database.is_sqlite or not (late := due(database, targets, now=before)):
        return []
    with database.read() as connection:
        return [
            target
            for target in late
            if not connection.execute(_PUBLISHING_NOW, {"class": PUBLISHES, "target": _key(target)}).scalar()
        ]


_PUBLISHING_NOW = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND granted"
    " AND classid::bigint = :class AND objid::bigint = (CAST(:target AS bigint) & 4294967295) AND objsubid = 2)"
)


# In the order of `OutgoingEvent`.
_EVENT = (
    *(Outbox.id, Outbox.event_id, Outbox.kind, Outbox.customer_id),
    *(Outbox.data, Outbox.occurred_at, Outbox.since, Outbox.attempts),
)
_REMOVE = sa.delete(Outbox).where(bulk.among(Outbox.id, "ids"))
_CHANGED = {"attempts": Outbox.attempts + 1, **bulk.new("due_at", "since", "detail")}
_LATER = bulk.Change(Outbox.id, _CHANGED, by="number")


def status(database: Database) -> dict[str, tuple[int, int, datetime | None]]:
    """Of each target that has rows: how many events wait and were given up, and when the oldest that waits happened."""
    waiting = sa.func.count(Outbox.due_at)
    oldest = sa.func.min(sa.case((Outbox.due_at.is_not(None), Outbox.occurred_at), else_=None)).label("oldest")
    query = sa.select(Outbox.target, waiting.label("waiting"), (sa.func.count() - waiting).label("given_up"), oldest)
    rows = database.rows(query.group_by(Outbox.target))
    return {row.target: (row.waiting, row.given_up, row.oldest) for row in rows}


def count(database: Database, target: str, *, given_up: bool) -> int:
    """How many events of this target wait, or were given up. At most one over MOST_COUNTED is counted."""
    state = Outbox.due_at.is_(None) if given_up else Outbox.due_at.is_not(None)
    some = sa.select(sa.literal(1)).where(Outbox.target == target, state).limit(MOST_COUNTED + 1).subquery()
    return int(database.value(sa.select(sa.func.count()).select_from(some)))


def waits_since(database: Database, target: str) -> datetime | None:
    """Since when the first event that waits has been tried."""
    first = sa.select(Outbox.since).where(Outbox.target == target, Outbox.due_at.is_not(None), Outbox.attempts > 0)
    found: datetime | None = database.value(first.order_by(Outbox.id).limit(1))
    return found


def given_up(database: Database, *, most: int) -> list[sa.Row[tuple[object, ...]]]:
    """The rows that were given up, the newest first, each with its event and its detail."""
    columns = (Outbox.target, *_EVENT, Outbox.detail)
    query = sa.select(*columns).where(Outbox.due_at.is_(None)).order_by(Outbox.since.desc(), Outbox.id.desc())
    return database.rows(query.limit(most))


def retry(database: Database, *, target: str | None, number: int | None, now: datetime) -> int:
    """Put given-up rows back. They are tried for as long as new rows. Returns how many."""
    which = sa.select(Outbox.id).where(Outbox.due_at.is_(None))
    which = which.where(Outbox.target == target) if target is not None else which
    which = which.where(Outbox.id == number) if number is not None else which
    back = sa.update(Outbox).values(due_at=now, since=now, attempts=0)
    total = 0
    while True:  # in chunks: a subscriber that was unreachable for a month has many rows
        with database.write() as connection:
            ids = list(connection.execute(which.order_by(Outbox.id).limit(CHUNK)).scalars())
            if ids:
                connection.execute(back.where(Outbox.id.in_(ids)))
                of = f" of {target}" if target is not None else ""
                note(connection, f"outgoing events{of}", now=now, count=len(ids), reason="to be published again")
        total += len(ids)
        if len(ids) < CHUNK:
            return total


def remove_old(database: Database, *, targets: Iterable[str], before: datetime) -> int:
    """Remove a chunk of old rows: given up before then, or for a target that is not configured. Returns how many."""
    gone = sa.or_(Outbox.due_at.is_(None), Outbox.target.not_in(list(targets)))
    with database.write() as connection:
        ids = list(connection.execute(sa.select(Outbox.id).where(gone, Outbox.since < before).limit(CHUNK)).scalars())
        if ids:
            connection.execute(sa.delete(Outbox).where(Outbox.id.in_(ids)))
    return len(ids)
