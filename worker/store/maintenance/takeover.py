"""Rows of an account that cannot work go to the next of their route, as many at a time as that one can do soon."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.limits.budgets import BudgetRule
from worker.domain.limits.failover import (
    CHUNK,
    SOON,
    fallback_accounts_after,
    keeps_one,
    may_take_over,
    room,
    route_after_takeover,
    taker,
    trouble,
)
from worker.domain.model.endings import Kind
from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState, SessionState
from worker.store.attempts.attempt_log import LATE
from worker.store.base.database import Database, fetch
from worker.store.base.priorities import PRIORITIES
from worker.store.limits import budgets
from worker.store.onboarding.sessions import IS_LIVE
from worker.store.tables import Attempt, Job, SessionRow

# Lots at one tick, each in a transaction of its own: who gets them is rung only after them.
CHUNKS = 4
# Outcomes of calls after which a session may be open at the account, or is: no other account may open one for that row.
OPENS = (Kind.UNKNOWN.value, LATE, Kind.CONFLICT.value)
_Follower = aliased(Job)
# That the last session ended unused, by its time or its provider's word.
_HAS_ENDED = sa.exists().where(SessionRow.id == Job.session_id, SessionRow.state == SessionState.EXPIRED)


@dataclass(frozen=True)
class Takeover:
    """Rows of `source` that `target` may be given. `well` are all accounts that could take some: one of them may be
    preferred. `sharing` are the accounts that the target's budget serves, itself among them."""

    source: str
    source_budget: str
    target: str
    rule: BudgetRule  # the target's
    floor: timedelta  # the least life of the target's links where the row's route asks for none
    sharing: tuple[str, ...]
    well: tuple[str, ...]


class Failover:
    def __init__(self, database: Database) -> None:
        self._database = database

    def move(self, what: Takeover, *, now: datetime) -> int:
        """Give the target what it can do soon, in chunks; returns how many rows it was given.

        Nothing is given that may have a session at the source: not what is being called for, what is in doubt, nor what
        is to replace a session that has not ended. What the source has made for the customer beside the session, an
        entity, binds it too.
        """
        moved = 0
        with self._database.read() as connection:
            # As nearly always nothing is there: a look costs no lock.
            if not any(fetch(connection, self._due(what, priority, 1, now=now)) for priority in PRIORITIES):
                return 0
        for _ in range(CHUNKS):
            chunk = self._chunk(what, now=now)
            moved += chunk
            if chunk < CHUNK:
                break
        return moved

    def count(self, what: Takeover, batch_id: int, *, now: datetime) -> int:
        """How many rows of a batch, or that its own have joined, the target may be given sooner or later."""
        query = sa.select(sa.func.count()).where(*self._of_batch(what, batch_id, now), Job.priority.in_(PRIORITIES))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def first_due(self, what: Takeover, batch_id: int, *, now: datetime) -> datetime | None:
        """When the first of those rows is due; None: there is none."""
        with self._database.read() as connection:
            dues = [
                connection.execute(
                    sa.select(Job.due_at)
                    .where(*self._of_batch(what, batch_id, now), Job.priority == priority)
                    .order_by(Job.due_at)
                    .limit(1)
                ).scalar()
                for priority in PRIORITIES
            ]
        return min((due_at for due_at in dues if due_at is not None), default=None)

    def _of_batch(self, what: Takeover, batch_id: int, now: datetime) -> list[sa.ColumnElement[bool] | sa.TextClause]:
        follows = sa.exists().where(_Follower.joins == Job.id, _Follower.batch_id == batch_id)
        return [*self._may_go(what), *_unbound(now), sa.or_(Job.batch_id == batch_id, follows)]

    def _chunk(self, what: Takeover, *, now: datetime) -> int:
        with self._database.write() as connection:
            # The lock keeps a second timer from giving the same room away again, and the account as it was judged.
            # Whoever writes its results waits for it, and is not waited for: rows that they hold are passed over.
            source = budgets.read(connection, what.source_budget, lock=True)
            target = budgets.read(connection, what.rule.name)
            why = trouble(source)
            if not why or not may_take_over(target, what.rule):
                return 0
            most = min(room(target, what.rule, due=self._due_at_target(connection, what, now=now), now=now), CHUNK)
            rows: list[sa.Row[Any]] = []
            for priority in PRIORITIES:
                if len(rows) < most:
                    query = self._due(what, priority, most - len(rows), now=now)
                    rows += fetch(connection, query.with_for_update(of=Job, skip_locked=True))
            if rows and len(rows) < most and keeps_one(source, now=now):
                rows.pop()
            # Asked again now that nobody else can take them: what was called for, and ended, between the look and the
            # lock is not seen by the look.
            free = _still_unbound(connection, [row.id for row in rows], now=now)
            moves = [
                {
                    "job_id": row.id,
                    "new_fallback_accounts": fallback_accounts_after(what.source, row.fallback_accounts),
                    "new_route": route_after_takeover(row.route, what.source, why),
                }
                for row in rows
                if row.id in free and taker(what.source, row.fallback_accounts, what.well) == what.target
            ]
            if moves:
                by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
                connection.execute(by_id.values(_moved(what, why, now=now)), moves)
        return len(moves)

    def _due(self, what: Takeover, priority: int, most: int, *, now: datetime) -> sa.Select[*tuple[Any, ...]]:
        """The next rows of the source that the target may be given, in the order in which they would be worked."""
        return (
            sa.select(Job.id, Job.fallback_accounts, Job.route)
            .where(*self._may_go(what), Job.priority == priority, Job.due_at <= now + SOON, *_unbound(now))
            .order_by(Job.due_at, Job.id)
            .limit(most)
        )

    def _may_go(self, what: Takeover) -> list[sa.ColumnElement[bool] | sa.TextClause]:
        """That a row waits at the source, has no session there, and prefers the target to all others that are well.

        As `failover.taker` decides it, in the database's words: what goes elsewhere must not fill the chunk.
        """
        position = sa.func.instr if self._database.is_sqlite else sa.func.strpos

        def place(account: str) -> sa.ColumnElement[int]:
            named: sa.ColumnElement[int] = position("," + Job.fallback_accounts + ",", f",{account},")
            return named

        target = place(what.target)
        return [
            Job.account == what.source,
            Job.state == JobState.WAITING,
            Job.joins.is_(None),
            sa.or_(Job.session_id.is_(None), sa.and_(Job.entity_id == "", _HAS_ENDED)),
            Job.unknown_attempt.is_(None),
            sa.text("job.fallback_accounts <> ''"),  # in the words of ix_job_backed
            target > 0,
            *(
                sa.or_(place(other) == 0, place(other) > target)
                for other in what.well
                if other not in (what.source, what.target)
            ),
        ]

    def _due_at_target(self, connection: sa.Connection, what: Takeover, *, now: datetime) -> int:
        """How many rows the target's budget has to do soon; counted no further than it could matter."""
        most = room(budgets.read(connection, what.rule.name), what.rule, due=0, now=now)
        soon = sa.select(sa.literal(1)).where(
            Job.account.in_(what.sharing),
            Job.priority.in_(PRIORITIES),
            Job.state == JobState.WAITING,
            Job.joins.is_(None),
            Job.due_at <= now + SOON,
        )
        return connection.execute(sa.select(sa.func.count()).select_from(soon.limit(most).subquery())).scalar_one()


def _unbound(now: datetime) -> list[sa.ColumnElement[bool]]:
    """That no call for the row may have opened a session anywhere, and its customer has none that opens.

    Strict: whatever is not known for certain binds the row to the account that was called, whoever decides later that
    it may be called again. A live session belongs to an account too, which alone knows when it may be replaced.
    """
    called = sa.exists().where(Attempt.job_id == Job.id, Attempt.invitation_id.is_(None), Attempt.closed_at.is_(None))
    bound = sa.exists().where(
        Attempt.job_id == Job.id,
        Attempt.invitation_id.is_(None),
        # A transient failure of a call that may be repeated says no more than that repeating it there does no harm.
        sa.or_(Attempt.outcome.in_(OPENS), sa.and_(Attempt.outcome == Kind.TRANSIENT.value, Attempt.repeatable)),
        # 503 is the one status by which every provider says that it let nothing in.
        sa.or_(Attempt.status.is_(None), Attempt.status != 503),
    )
    # Its expiry, row by row through the unique index: as a condition on sessions, by statistics from before a list, it
    # would be looked for among all that live.
    expires_at = (
        sa.select(SessionRow.expires_at)
        .where(SessionRow.customer_id == Job.customer_id, SessionRow.purpose == Job.purpose, IS_LIVE)
        .scalar_subquery()
    )
    live = sa.func.coalesce(expires_at > now, sa.false(), type_=sa.Boolean())
    return [~called, ~bound, ~live]


def _still_unbound(connection: sa.Connection, ids: Sequence[int], *, now: datetime) -> set[int]:
    query = sa.select(Job.id).where(Job.id.in_(ids), *_unbound(now))
    return set(connection.execute(query).scalars()) if ids else set()


def _moved(what: Takeover, why: str, *, now: datetime) -> dict[str, Any]:
    return {
        "account": what.target,
        "fallback_accounts": sa.bindparam("new_fallback_accounts"),
        "route": sa.bindparam("new_route"),
        "floor_seconds": sa.func.coalesce(Job.freshness_seconds, int(what.floor.total_seconds())),
        # Until it is called for there: why its last call failed is no longer why it waits.
        "reason": Reason.TAKEN_OVER,
        "detail": f"taken over from {what.source}, which {why}",
        "changed_at": now,
    }
