"""What a person decides about a batch: pause, resume, cancel it; retry what failed; settle what is held.

Pausing lifts the priority of the batch's rows out of those that are taken, so that a paused million costs the
others nothing. It is a change to each row, made in lots, so that no transaction is long.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from worker.models import Batch, InvitationRow, Job
from worker.states import ENDED_JOBS, InvitationState, JobState
from worker.store.cancelling import cancel_jobs, change_jobs, promote, waiting_again
from worker.store.database import Database, fetch
from worker.store.jobs import PAUSED, PRIORITIES

LOT = 2000
OPEN = [state for state in JobState if state not in ENDED_JOBS]


class Verdict(StrEnum):
    """What becomes of a held row."""

    REPEAT = "repeat"  # make the call again: it may be paid for, or arrive, a second time
    ABANDON = "abandon"  # give it up


@dataclass(frozen=True)
class Decided:
    """How many rows a decision changed, and what may be rung for now."""

    rows: int
    accounts: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Which:
    """Which rows of a batch a decision is about; None: all of them."""

    batch_id: int
    account: str | None = None
    row: int | None = None


class Decisions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, batch_id: int, *, now: datetime) -> Decided:
        """Take nothing more of the batch; what is being called is finished."""
        self._mark(batch_id, paused_at=now)
        return Decided(self._shift_priority(batch_id, PRIORITIES, +PAUSED))

    def resume(self, batch_id: int) -> Decided:
        """Go on with a paused batch."""
        self._mark(batch_id, paused_at=None)
        paused = [priority + PAUSED for priority in PRIORITIES]
        rows = self._shift_priority(batch_id, paused, -PAUSED)
        return Decided(rows, *self._due_names(batch_id))

    def cancel(self, batch_id: int, *, now: datetime) -> Decided:
        """End every job of the batch that has not ended; what is being called is finished, and then ended.

        Sessions that are open stay open at their providers until they expire. A customer of this batch whom
        another list waits for is served for that one from now on.
        """
        self._mark(batch_id, cancelled_at=now)
        rows = 0
        while ids := self._cancel_lot(batch_id, now=now):
            rows += ids
        return Decided(rows)

    def count_failed(self, which: Which) -> int:
        return self._count(which, JobState.FAILED)

    def count_held(self, which: Which) -> int:
        return self._count(which, JobState.HELD)

    def retry(self, which: Which, *, now: datetime) -> Decided:
        """Put failed jobs back to waiting, attempts at zero. One whose customer is being served elsewhere joins."""
        with self._database.write() as connection:
            rows = fetch(connection, _rows(which, JobState.FAILED).with_for_update())
            for row in rows:
                _lead_or_join(connection, row, now=now)
        return Decided(len(rows), frozenset(row.account for row in rows))

    def resolve(self, which: Which, verdict: Verdict, *, now: datetime) -> Decided:
        """Settle held jobs: make their calls again, or give them up."""
        with self._database.write() as connection:
            rows = fetch(connection, _rows(which, JobState.HELD).with_for_update())
            in_doubt = _held_messages(connection, [row.id for row in rows])
            messages = [row for row in rows if row.id in in_doubt]
            calls = [row for row in rows if row.id not in in_doubt]
            if verdict is Verdict.ABANDON:
                gone = {"state": InvitationState.FAILED, "due_at": None, "reason": "abandoned", "detail": ""}
                _change_invitations(connection, [row.id for row in messages], gone)
                # One whose other message is out is invited all the same.
                invited = _invited(connection, [row.id for row in messages])
                ended = [row.id for row in rows if row.id not in invited]
                end = {"state": JobState.CANCELLED, "due_at": None, "reason": "abandoned", "changed_at": now}
                change_jobs(connection, ended, end)
                done = {"state": JobState.INVITED, "reason": "", "detail": "", "changed_at": now}
                change_jobs(connection, list(invited), done)
                promote(connection, ended, now=now)
                return Decided(len(rows))
            again = {"state": InvitationState.WAITING, "due_at": now, "attempts": 0, "reason": "", "detail": ""}
            _change_invitations(connection, [row.id for row in messages], again)
            issued = {"state": JobState.ISSUED, "reason": "", "detail": "", "changed_at": now}
            change_jobs(connection, [row.id for row in messages], issued)
            change_jobs(connection, [row.id for row in calls], waiting_again(now))
        channels = frozenset(channel for names in in_doubt.values() for channel in names)
        return Decided(len(rows), frozenset(row.account for row in calls), channels)

    def _count(self, which: Which, state: JobState) -> int:
        query = sa.select(sa.func.count()).select_from(_rows(which, state).subquery())
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def _mark(self, batch_id: int, **values: datetime | None) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(Batch).where(Batch.id == batch_id).values(**values))

    def _shift_priority(self, batch_id: int, of: Iterable[int], by: int) -> int:
        of = list(of)
        jobs = self._in_lots(
            lambda: sa.select(Job.id).where(Job.batch_id == batch_id, Job.state.in_(OPEN), Job.priority.in_(of)),
            lambda ids: sa.update(Job).where(Job.id.in_(ids)).values(priority=Job.priority + by),
        )
        unsent = (InvitationState.WAITING, InvitationState.WORKING, InvitationState.HELD, InvitationState.FAILED)
        self._in_lots(
            lambda: sa.select(InvitationRow.id).where(
                InvitationRow.batch_id == batch_id, InvitationRow.state.in_(unsent), InvitationRow.priority.in_(of)
            ),
            lambda ids: (
                sa.update(InvitationRow).where(InvitationRow.id.in_(ids)).values(priority=InvitationRow.priority + by)
            ),
        )
        return jobs

    def _in_lots(
        self, which: Callable[[], sa.Select[*tuple[Any, ...]]], change: Callable[[list[Any]], sa.Update]
    ) -> int:
        total = 0
        while True:
            with self._database.write() as connection:
                ids = [row.id for row in fetch(connection, which().limit(LOT).with_for_update())]
                if not ids:
                    return total
                connection.execute(change(ids))
            total += len(ids)

    def _cancel_lot(self, batch_id: int, *, now: datetime) -> int:
        with self._database.write() as connection:
            query = sa.select(Job.id).where(
                Job.batch_id == batch_id, Job.state.in_([state for state in OPEN if state is not JobState.WORKING])
            )
            ids = [row.id for row in fetch(connection, query.limit(LOT).with_for_update())]
            cancel_jobs(connection, ids, now=now)
        return len(ids)

    def _due_names(self, batch_id: int) -> tuple[frozenset[str], frozenset[str]]:
        jobs = sa.select(Job.account).where(Job.batch_id == batch_id, Job.state == JobState.WAITING).distinct()
        messages = sa.select(InvitationRow.channel).where(
            InvitationRow.batch_id == batch_id, InvitationRow.state == InvitationState.WAITING
        )
        with self._database.read() as connection:
            accounts = frozenset(connection.execute(jobs).scalars())
            channels = frozenset(connection.execute(messages.distinct()).scalars())
        return accounts, channels


def _rows(which: Which, state: JobState) -> sa.Select[*tuple[Any, ...]]:
    query = sa.select(Job.id, Job.customer_id, Job.purpose, Job.account).where(
        Job.batch_id == which.batch_id, Job.state == state, Job.joins.is_(None)
    )
    if which.account is not None:
        query = query.where(Job.account == which.account)
    return query.where(Job.row == which.row) if which.row is not None else query


def _lead_or_join(connection: sa.Connection, row: sa.Row[Any], *, now: datetime) -> None:
    leader = connection.execute(
        sa.select(Job.id).where(
            Job.customer_id == row.customer_id,
            Job.purpose == row.purpose,
            Job.joins.is_(None),
            Job.state.in_(OPEN),
        )
    ).scalar()
    values = waiting_again(now)
    if leader is not None:
        values |= {"joins": leader, "due_at": None, "reason": "joined_job"}
    change_jobs(connection, [row.id], values)


def _held_messages(connection: sa.Connection, job_ids: list[int]) -> dict[int, set[str]]:
    """The channels of these jobs' messages that are in doubt."""
    query = sa.select(InvitationRow.job_id, InvitationRow.channel).where(
        InvitationRow.job_id.in_(job_ids), InvitationRow.state == InvitationState.HELD
    )
    found: dict[int, set[str]] = {}
    for row in fetch(connection, query):
        found.setdefault(row.job_id, set()).add(row.channel)
    return found


def _invited(connection: sa.Connection, job_ids: list[int]) -> set[int]:
    """Those of these jobs that have a message that is out."""
    out = (InvitationState.SENT, InvitationState.DELIVERED)
    query = sa.select(InvitationRow.job_id).where(InvitationRow.job_id.in_(job_ids), InvitationRow.state.in_(out))
    return set(connection.execute(query).scalars())


def _change_invitations(connection: sa.Connection, job_ids: list[int], values: dict[str, Any]) -> None:
    if job_ids:
        held = sa.update(InvitationRow).where(
            InvitationRow.job_id.in_(job_ids), InvitationRow.state == InvitationState.HELD
        )
        connection.execute(held.values(values))
