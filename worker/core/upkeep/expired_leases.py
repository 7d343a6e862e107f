"""Ends the leases of workers that have stopped, for the timer."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import partial
from operator import add
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.claim.attempt_log import after_call
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.facts import STOPPED, JobsStopped, happened
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.model.endings import (
    Ending,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
    ending_for,
    invitation_state_after,
    job_state_after,
)
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import UNANSWERED, InvitationState, JobState
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rows.cancellation import cancel_jobs, cancelled_instead
from onboarding_worker.core.rows.message_rows import set_job_states
from onboarding_worker.core.rows.row_by_row import Chunk, hold_jobs, hold_messages, row_by_row
from onboarding_worker.core.rules.reconciliation import not_before_its_wait, stays_unknown

UNKNOWN = Problem(Kind.UNKNOWN, "the worker stopped during the call; the call may have been carried out")
RECONCILIATION_LOST = "the worker stopped while it reconciled the call; the call is reconciled again"
# Leases ended in one transaction: a longer transaction would delay the workers that claim from the same tables.
CHUNK = 500


@dataclass(frozen=True)
class EndedLeases:
    """Expired leases: how many rows were released, are repeated, are reconciled, and are held or failed; and how many
    had ended during their call."""

    released: int = 0
    repeated: int = 0
    held: int = 0
    unknown: int = 0
    ended: int = 0

    def __add__(self, other: "EndedLeases") -> "EndedLeases":
        return EndedLeases(*map(add, astuple(self), astuple(other)))


class ExpiredLeases:
    def __init__(self, database: Database, *, jitter: Callable[[], float] = random.random) -> None:
        self._database = database
        self._jitter = jitter

    def end(
        self, policy: RetryPolicy, *, now: datetime, all_of_them: bool = False, listing: Collection[str] = ()
    ) -> EndedLeases:
        """End expired leases. `all_of_them`: end all leases, on SQLite, where no other process can be working.

        A row without an open attempt becomes due again. The call of an open attempt may have been carried out: the
        row is repeated if the attempt is repeatable, else reconciled if the attempt has a time for that, else held.
        `listing` are the accounts whose sessions the provider lists: calls of jobs that have ended are looked up there.
        """
        total = EndedLeases()
        if not self._any(now=now, all_of_them=all_of_them):
            return total  # the usual case, found without a lock
        for one_chunk in (self._jobs, partial(self._ended_jobs, listing), self._invitations):
            # A chunk locks rows in no fixed order: a dispatcher that records results may lock them in another order.
            chunk = partial(one_chunk, policy, now=now, all_of_them=all_of_them)
            while (ended := outlive_deadlocks(chunk)) != EndedLeases():
                total += ended
        return total

    def _any(self, *, now: datetime, all_of_them: bool) -> bool:
        jobs = sa.select(Job.id).where(Job.lease_until.is_not(None), Job.lease_owner != unknown_outcomes.NO_OWNER)
        messages = sa.select(InvitationRow.id).where(InvitationRow.state == InvitationState.WORKING)
        if not all_of_them:
            jobs, messages = jobs.where(Job.lease_until < now), messages.where(InvitationRow.lease_until < now)
        with self._database.read() as connection:
            return any(connection.execute(query.limit(1)).first() is not None for query in (jobs, messages))

    def _jobs(self, policy: RetryPolicy, *, now: datetime, all_of_them: bool) -> EndedLeases:
        def work(connection: sa.Connection, chunk: Chunk) -> EndedLeases:
            columns = (Job.id, Job.fence, Job.attempts, Job.due_at, Job.unknown_attempt, Job.cancelled_at)
            query = sa.select(*columns).where(Job.state == JobState.WORKING)
            rows = _chunk(connection, chunk, query if all_of_them else query.where(Job.lease_until < now))
            open_attempts = _open_attempts(
                connection, Attempt.job_id.in_([row.id for row in rows]), Attempt.invitation_id.is_(None)
            )
            by_owner = {(attempt.job_id, attempt.fence): attempt for attempt in open_attempts}
            moves, counted = self._moves(policy, rows, by_owner, job_state_after, JobState.WAITING, now=now)
            marked = {row.id for row in rows if row.cancelled_at is not None}
            cancelled = cancelled_instead(moves, marked, by="row_id")
            if moves:
                values: dict[str, Any] = {**_MOVE, "attempts": Job.attempts + sa.bindparam("more_attempts")}
                by_id = sa.update(Job).where(Job.id == sa.bindparam("row_id"))
                connection.execute(by_id.values(**values, changed_at=now), moves)
                stopped = [move["row_id"] for move in moves if move["new_state"] in STOPPED]
                happened(connection, JobsStopped(stopped), now=now)
            cancel_jobs(connection, cancelled, now=now)
            _close(connection, open_attempts, now=now)
            return counted

        set_aside = partial(hold_jobs, states=(JobState.WORKING,), now=now)
        return row_by_row(self._database, "leases of jobs", work, set_aside)

    def _ended_jobs(
        self, listing: Collection[str], _policy: RetryPolicy, *, now: datetime, all_of_them: bool
    ) -> EndedLeases:
        """Close the attempts of jobs that ended during their call, by a verdict about an earlier session.

        Whether the call opened a session is unknown, and stays with the row. The call is looked up where the provider
        lists its sessions; else before anybody makes another call for the row.
        """
        with self._database.write() as connection:
            query = sa.select(Job.id).where(
                Job.state != JobState.WORKING,
                Job.lease_until.is_not(None),
                Job.lease_owner != unknown_outcomes.NO_OWNER,
            )
            rows = _chunk(connection, Chunk(), query if all_of_them else query.where(Job.lease_until < now))
            ids = [row.id for row in rows]
            attempts = _open_attempts(connection, Attempt.job_id.in_(ids), Attempt.invitation_id.is_(None))
            calls = [
                {"row_id": attempt.job_id, "new_unknown_attempt": attempt.id}
                for attempt in attempts
                if attempt.reconciles is None and not attempt.repeatable
            ]
            if ids:
                connection.execute(sa.update(Job).where(Job.id.in_(ids)).values(lease_until=None))
            if calls:
                by_id = sa.update(Job).where(Job.id == sa.bindparam("row_id"))
                unknown = {"unknown_attempt": sa.bindparam("new_unknown_attempt"), "attempts": Job.attempts + 1}
                connection.execute(by_id.values(unknown), calls)
            _close(connection, attempts, now=now)
            unknown_outcomes.mark(connection, ids, listing)
            return EndedLeases(ended=len(rows))

    def _invitations(self, policy: RetryPolicy, *, now: datetime, all_of_them: bool) -> EndedLeases:
        def work(connection: sa.Connection, chunk: Chunk) -> EndedLeases:
            columns = (InvitationRow.id, InvitationRow.job_id, InvitationRow.fence, InvitationRow.attempts)
            unknown = (InvitationRow.unknown_attempt, InvitationRow.unknown_handovers)
            query = sa.select(*columns, *unknown, InvitationRow.due_at)
            query = query.where(InvitationRow.state == InvitationState.WORKING)
            rows = _chunk(connection, chunk, query if all_of_them else query.where(InvitationRow.lease_until < now))
            open_attempts = _open_attempts(
                connection,
                Attempt.job_id.in_([row.job_id for row in rows]),
                Attempt.invitation_id.in_([row.id for row in rows]),
            )
            by_owner = {(attempt.invitation_id, attempt.fence): attempt for attempt in open_attempts}
            moves, counted = self._moves(
                policy, rows, by_owner, invitation_state_after, InvitationState.WAITING, paced=_paced, now=now
            )
            if moves:
                values: dict[str, Any] = {
                    **_MOVE,
                    "attempts": InvitationRow.attempts + sa.bindparam("more_attempts"),
                    "unknown_handovers": InvitationRow.unknown_handovers + sa.bindparam("more_unknown"),
                }
                by_id = sa.update(InvitationRow).where(InvitationRow.id == sa.bindparam("row_id"))
                connection.execute(by_id.values(values), moves)
                set_job_states(connection, [row.job_id for row in rows], now=now)
            _close(connection, open_attempts, now=now)
            return counted

        set_aside = partial(hold_messages, states=(InvitationState.WORKING,), now=now)
        return row_by_row(self._database, "leases of messages", work, set_aside)

    def _moves(
        self,
        policy: RetryPolicy,
        rows: Iterable[sa.Row[Any]],
        open_attempts: dict[tuple[Any, int], sa.Row[Any]],
        state_after: Callable[[Ending], Any],
        waiting: Any,
        *,
        paced: Callable[[Any, Ending, datetime], Ending] = lambda _row, ending, _now: ending,
        now: datetime,
    ) -> tuple[list[dict[str, Any]], EndedLeases]:
        moves, counted = [], Counter[str]()
        for row in rows:
            attempt, unknown_call = open_attempts.get((row.id, row.fence)), row.unknown_attempt
            ending: Ending | None = None  # a row without a call keeps its place in the queue
            if attempt is None:
                counted["released"] += 1
            elif attempt.reconciles is not None:
                # The attempt was a reconciliation: the row stays as it was, and is reconciled again.
                ending = Snooze(now + policy.first * self._jitter(), Reason.UNKNOWN, RECONCILIATION_LOST)
                counted["unknown"] += 1
            else:
                ending = ending_for(
                    UNKNOWN,
                    attempt=row.attempts + 1,
                    repeatable=attempt.repeatable,
                    policy=policy,
                    resume_at=now,
                    now=now,
                    jitter=self._jitter(),
                    reconcile_at=attempt.reconcile_at,
                )
                ending, unknown_call = paced(row, ending, now), None
                counted[_COUNTED.get(type(ending), "held")] += 1
            attempt_id = attempt.id if attempt is not None else None
            move = after_call(ending, due_at=row.due_at, attempt_id=attempt_id, unknown_call=unknown_call)
            state = waiting if ending is None else state_after(ending)
            unknown = int(stays_unknown(ending, UNKNOWN))
            moves.append(move | {"row_id": row.id, "new_state": state, "more_unknown": unknown})
        return moves, EndedLeases(**counted)


def _paced(message: Any, ending: Ending, now: datetime) -> Ending:
    return not_before_its_wait(ending, UNKNOWN, before=message.unknown_handovers, now=now)


_COUNTED: Mapping[type[Ending], str] = {Retry: "repeated", Reconcile: "unknown"}
_MOVE = bulk.new("state", "due_at", "reason", "detail", "unknown_attempt") | {"lease_until": None}


def _chunk(connection: sa.Connection, chunk: Chunk, query: sa.Select[*tuple[Any, ...]]) -> list[sa.Row[Any]]:
    # Another sweep may run at the same time (two beats by mistake): each skips the rows that the other has locked.
    return chunk.of(fetch(connection, query.limit(CHUNK).with_for_update(skip_locked=True)))


def _open_attempts(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
    columns = (Attempt.id, Attempt.job_id, Attempt.invitation_id, Attempt.fence, Attempt.repeatable)
    query = sa.select(*columns, Attempt.reconcile_at, Attempt.reconciles)
    return fetch(connection, query.where(Attempt.closed_at.is_(None), *conditions))


def _close(connection: sa.Connection, attempts: Iterable[sa.Row[Any]], *, now: datetime) -> None:
    attempts = list(attempts)
    calls = [attempt.id for attempt in attempts if attempt.reconciles is None]
    look_ups = [attempt.id for attempt in attempts if attempt.reconciles is not None]
    for ids, outcome, detail in ((calls, Reason.UNKNOWN, UNKNOWN.detail), (look_ups, UNANSWERED, RECONCILIATION_LOST)):
        if ids:
            close = sa.update(Attempt).where(Attempt.id.in_(ids))
            connection.execute(close.values(closed_at=now, outcome=outcome, detail=detail))
