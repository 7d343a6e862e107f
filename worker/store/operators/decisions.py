"""What a person decides about a batch: pause, resume, cancel it; retry what failed; settle what is held.

Pausing lifts the priority of the batch's rows out of those that are taken, so that a paused million costs the
others nothing. Every decision is a change to each row, made in chunks, so that no transaction is long and no
statement is wider than a database takes; one that is cut off is made for the rest by saying it again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.model.states import OPEN_JOBS, InvitationState, JobState
from worker.store.base.database import Database, fetch, outlive_deadlocks
from worker.store.base.priorities import PAUSED, PRIORITIES
from worker.store.onboarding.cancellation import cancel_jobs
from worker.store.onboarding.sessions import HELD_FIRST
from worker.store.operators.settlement import LEAD, Decided, abandon, in_state, repeat, retry
from worker.store.tables import Batch, InvitationRow, Job

CHUNK = 2000
# An import may make a customer's leader at the moment at which a retry does: the retry looks again, and joins it.
TRIES = 5
# What is being called for is ended at its next taking, once its result is known.
FREE = [state for state in OPEN_JOBS if state is not JobState.WORKING]
_PAUSED = [priority + PAUSED for priority in PRIORITIES]


class Verdict(StrEnum):
    """What becomes of a held row."""

    REPEAT = "repeat"  # make the call again: it may be paid for, or arrive, a second time
    ABANDON = "abandon"  # give it up


@dataclass(frozen=True)
class Which:
    """Which rows of a batch a decision is about; None: all of them."""

    batch_id: int
    account: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class Stake:
    """What repeating held rows may cost at worst: so many sessions more by account, second messages by channel."""

    sessions: dict[str, int]
    messages: dict[str, int]


class Decisions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, batch_id: int, *, now: datetime) -> Decided:
        """Take nothing more of the batch; what is being called is finished. One that was cancelled is left alone."""
        if not self._mark(batch_id, Batch.cancelled_at.is_(None), paused_at=now):
            return Decided(0)
        return Decided(self._shift_priority(batch_id, PRIORITIES, +PAUSED))

    def resume(self, batch_id: int, *, now: datetime) -> Decided:
        """Go on with a paused batch; what comes back of its messages is counted anew."""
        self._mark(batch_id, Batch.id == batch_id, paused_at=None, pause_reason="", resumed_at=now)
        rows = self._shift_priority(batch_id, _PAUSED, -PAUSED)
        return Decided(rows, *self._due_names(batch_id))

    def finish_pauses(self, *, now: datetime) -> dict[int, str]:
        """Take nothing more of batches that are to pause themselves (`store.messages.bounce_counts`); why, by batch.

        One that is cut off is finished by the next that asks. One that a person resumes meanwhile goes on.
        """
        marked = sa.select(Batch.id, Batch.pause_reason).where(
            Batch.pause_reason != "", Batch.paused_at.is_(None), Batch.cancelled_at.is_(None)
        )
        with self._database.read() as connection:
            batches = fetch(connection, marked.order_by(Batch.id))
        for batch in batches:
            # Its messages first, and those once more that jobs have come to meanwhile: they are what harms.
            for what in (_MESSAGES, _JOBS, _MESSAGES):
                self._shift(what, batch.id, PRIORITIES, +PAUSED, only_while=Batch.pause_reason != "")
            self._mark(batch.id, sa.and_(Batch.pause_reason != "", Batch.paused_at.is_(None)), paused_at=now)
        return {batch.id: batch.pause_reason for batch in batches}

    def cancel(self, batch_id: int, *, now: datetime) -> Decided:
        """End every job of the batch that has not ended; what is being called is finished, and then ended.

        Sessions that are open stay open at their providers until they expire. A customer of this batch whom
        another list waits for is served for that one from now on.
        """
        self._mark(batch_id, Batch.id == batch_id, cancelled_at=now, paused_at=None, pause_reason="")
        rows, after = 0, 0
        while chunk := outlive_deadlocks(partial(self._cancel_lot, batch_id, after, now=now)):
            after = chunk[0]
            rows += chunk[1]
        # What is still being called for, or sent, is ended at its next taking: of a paused batch nothing is taken.
        self._shift_priority(batch_id, _PAUSED, -PAUSED)
        return Decided(rows)

    def count_failed(self, which: Which) -> int:
        return self._count(which, JobState.FAILED)

    def count_held(self, which: Which) -> int:
        return self._count(which, JobState.HELD)

    def at_stake(self, which: Which) -> Stake:
        """What making the calls of these held rows again may cost."""
        held = (Job.state == JobState.HELD, Job.joins.is_(None))
        calls = _chosen(which, sa.select(Job.account.label("name"), sa.func.count().label("number")))
        contexts = _chosen(which, sa.select(InvitationRow.channel.label("name"), sa.func.count().label("number")))
        with self._database.read() as connection:
            sessions = fetch(connection, calls.where(*held, ~sa.exists().where(HELD_FIRST)).group_by(Job.account))
            contexts = contexts.join(Job, HELD_FIRST).where(*held).group_by(InvitationRow.channel)
            messages = fetch(connection, contexts)
        return Stake({row.name: row.number for row in sessions}, {row.name: row.number for row in messages})

    def held_elsewhere(self, which: Which) -> dict[int, int]:
        """How many of these rows are held because the row of another batch is that they joined, by that batch."""
        query = _chosen(which, sa.select(LEAD.batch_id, sa.func.count().label("rows")).select_from(Job))
        query = query.join(LEAD, LEAD.id == Job.joins).where(Job.state.in_(OPEN_JOBS), LEAD.state == JobState.HELD)
        with self._database.read() as connection:
            rows = fetch(connection, query.group_by(LEAD.batch_id).order_by(LEAD.batch_id))
        return {row.batch_id: row.rows for row in rows}

    def retry(self, which: Which, *, now: datetime) -> Decided:
        """Put failed jobs back to waiting, attempts at zero.

        One whose customer is being served elsewhere joins, and one whose customer has finished elsewhere is
        completed. One that had joined a job which failed is served on its own.
        """
        return self._each_chunk(which, JobState.FAILED, lambda connection, ids: retry(connection, ids, now=now))

    def resolve(self, which: Which, verdict: Verdict, *, now: datetime) -> Decided:
        """Settle held jobs: make their calls again, or give them up."""
        settle = abandon if verdict is Verdict.ABANDON else repeat
        return self._each_chunk(which, JobState.HELD, lambda connection, ids: settle(connection, ids, now=now))

    def _each_chunk(
        self, which: Which, state: JobState, decide: Callable[[sa.Connection, list[int]], Decided]
    ) -> Decided:
        decided, after = Decided(0), 0
        while chunk := outlive_deadlocks(partial(self._chunk, which, state, after, decide)):
            after = chunk[0]
            decided += chunk[1]
        return decided

    def _chunk(
        self, which: Which, state: JobState, after: int, decide: Callable[[sa.Connection, list[int]], Decided]
    ) -> tuple[int, Decided] | None:
        """Decide about the next rows; the last of them, and what changed. None: there are no more."""
        query = _rows(which, state).where(Job.row > after).order_by(Job.row).limit(CHUNK)
        for attempt in range(TRIES):
            try:
                with self._database.write() as connection:
                    chunk = fetch(connection, query)
                    return (chunk[-1].row, decide(connection, [row.id for row in chunk])) if chunk else None
            except sa.exc.IntegrityError:
                if attempt == TRIES - 1:
                    raise
        return None

    def _count(self, which: Which, state: JobState) -> int:
        query = sa.select(sa.func.count()).select_from(_rows(which, state).subquery())
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def _mark(self, batch_id: int, condition: sa.ColumnElement[bool], **values: datetime | str | None) -> bool:
        """Whether the batch was one of which the condition holds."""
        mark = sa.update(Batch).where(Batch.id == batch_id, condition).values(**values).returning(Batch.id)
        with self._database.write() as connection:
            return connection.execute(mark).first() is not None

    def _shift_priority(self, batch_id: int, of: Iterable[int], by: int) -> int:
        of = list(of)
        rows = self._shift(_JOBS, batch_id, of, by)
        self._shift(_MESSAGES, batch_id, of, by)
        return rows

    def _shift(
        self,
        what: "_Shifted",
        batch_id: int,
        of: Iterable[int],
        by: int,
        *,
        only_while: sa.ColumnElement[bool] | None = None,
    ) -> int:
        """Change the priority of a batch's rows; how many of them count. `only_while`: as long as this holds of it."""
        rows = what.rows.where(what.table.batch_id == batch_id, what.table.priority.in_(list(of)))
        shift = sa.update(what.table).values(priority=what.table.priority + by)
        still = sa.select(Batch.id).where(Batch.id == batch_id, only_while) if only_while is not None else None
        bulk = self._in_chunks(rows, what.key, lambda ids: shift.where(what.table.id.in_(ids)), still)
        return sum(row.state is not JobState.FAILED for chunk in bulk for row in chunk)

    def _in_chunks(
        self,
        query: sa.Select[*tuple[Any, ...]],
        key: sa.orm.InstrumentedAttribute[Any],
        change: Callable[[list[Any]], sa.Update],
        still: sa.Select[int] | None = None,
    ) -> Iterator[list[sa.Row[Any]]]:
        """Change what the query finds, in the order of `key`, in transactions of their own; each chunk once changed.

        `still`: for as long as this finds something.
        """
        chunk = query.order_by(key).limit(CHUNK)
        rest = chunk
        while rows := outlive_deadlocks(partial(self._change_lot, rest, change, still)):
            yield rows
            # Not from the start: to pass over what is changed already would cost its square.
            rest = chunk.where(key > getattr(rows[-1], key.key))

    def _change_lot(
        self,
        query: sa.Select[*tuple[Any, ...]],
        change: Callable[[list[Any]], sa.Update],
        still: sa.Select[int] | None,
    ) -> list[sa.Row[Any]]:
        with self._database.write() as connection:
            rows = fetch(connection, query.with_for_update())
            # Held until the chunk is changed, so that who ends it finds what was changed before. After the rows, as
            # those who write results lock them.
            if still is not None and not fetch(connection, still.with_for_update(read=True)):
                return []
            if rows:
                connection.execute(change([row.id for row in rows]))
        return rows

    def _cancel_lot(self, batch_id: int, after: int, *, now: datetime) -> tuple[int, int] | None:
        """The last row looked at, and how many were cancelled; None: there are no more."""
        query = sa.select(Job.id, Job.row).where(Job.batch_id == batch_id, Job.row > after, Job.state.in_(FREE))
        with self._database.write() as connection:
            chunk = fetch(connection, query.order_by(Job.row).limit(CHUNK))
            if not chunk:
                return None
            ids = [row.id for row in chunk]
            # Messages before their jobs, as those who send them lock them: else each could wait for the other.
            messages = sa.select(InvitationRow.id).where(
                InvitationRow.job_id.in_(ids), InvitationRow.state == InvitationState.WAITING
            )
            fetch(connection, messages.order_by(InvitationRow.id).with_for_update())
            free = sa.select(Job.id).where(Job.id.in_(ids), Job.state.in_(FREE)).order_by(Job.id)
            ids = [row.id for row in fetch(connection, free.with_for_update())]
            cancel_jobs(connection, ids, now=now)
        return chunk[-1].row, len(ids)

    def _due_names(self, batch_id: int) -> tuple[frozenset[str], frozenset[str]]:
        jobs = sa.select(Job.account).where(Job.batch_id == batch_id, Job.state == JobState.WAITING).distinct()
        messages = sa.select(InvitationRow.channel).where(
            InvitationRow.batch_id == batch_id, InvitationRow.state == InvitationState.WAITING
        )
        with self._database.read() as connection:
            accounts = frozenset(connection.execute(jobs).scalars())
            channels = frozenset(connection.execute(messages.distinct()).scalars())
        return accounts, channels


@dataclass(frozen=True)
class _Shifted:
    """A table whose rows are lifted out of those that are taken, and which of them."""

    table: type[Job] | type[InvitationRow]
    rows: sa.Select[*tuple[Any, ...]]
    key: sa.orm.InstrumentedAttribute[Any]


# Failed ones too, though they do not count: a retry in a paused batch must wait, and must not after it.
_JOBS = _Shifted(
    Job, sa.select(Job.id, Job.row, Job.state).where(Job.state.in_([*OPEN_JOBS, JobState.FAILED])), Job.row
)
_UNSENT = (InvitationState.WAITING, InvitationState.WORKING, InvitationState.HELD, InvitationState.FAILED)
_MESSAGES = _Shifted(
    InvitationRow,
    sa.select(InvitationRow.id, InvitationRow.state).where(InvitationRow.state.in_(_UNSENT)),
    InvitationRow.id,
)


def _rows(which: Which, state: JobState) -> sa.Select[*tuple[Any, ...]]:
    return in_state(_chosen(which, sa.select(Job.id, Job.row, Job.customer_id, Job.purpose, Job.account)), state)


def _chosen(which: Which, query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    query = query.where(Job.batch_id == which.batch_id)
    if which.account is not None:
        query = query.where(Job.account == which.account)
    return query.where(Job.row == which.row) if which.row is not None else query
