"""Settling some rows of a batch in one transaction: retry what failed, repeat or give up what is held."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.states import InvitationState, JobState
from worker.domain.model.wakeups import WakeUp
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.onboarding.admission import following, lock_customers
from worker.store.onboarding.cancellation import change_jobs, promote, waiting_again, with_unknown_calls
from worker.store.onboarding.sessions import ABANDONED, FIRST, HELD_FIRST, OF_ITS_SESSION, schedule_checks
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import InvitationRow, Job

CANNOT_DECRYPT = "cannot_open"  # the reason of a row that is held because no key opens it
LEAD = aliased(Job)  # the job that another joined


@dataclass(frozen=True)
class Decided:
    """How many rows a decision changed, and the accounts and channels with something due now."""

    rows: int
    accounts: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def __add__(self, other: "Decided") -> "Decided":
        return Decided(self.rows + other.rows, self.accounts | other.accounts, self.channels | other.channels)

    @property
    def due(self) -> list[WakeUp]:
        """The wake-ups to send once the decision is committed."""
        return [*map(WakeUp.issue, sorted(self.accounts)), *map(WakeUp.invite, sorted(self.channels))]


def in_state(query: sa.Select[*tuple[Any, ...]], state: JobState) -> sa.Select[*tuple[Any, ...]]:
    """Its jobs in this state; among the failed ones are those that joined one which failed."""
    if state is JobState.FAILED:
        query = query.join(LEAD, LEAD.id == Job.joins, isouter=True)
        return query.where(sa.func.coalesce(LEAD.state, Job.state) == state)
    return query.where(Job.state == state, Job.joins.is_(None))


def _locked(connection: sa.Connection, ids: list[int], state: JobState) -> list[sa.Row[Any]]:
    """Those of these jobs that are still in this state; locked."""
    query = in_state(sa.select(Job.id, Job.customer_id, Job.purpose, Job.account), state)
    return fetch(connection, query.where(Job.id.in_(ids)).order_by(Job.id).with_for_update(of=Job))


def retry(connection: sa.Connection, ids: list[int], *, now: datetime) -> Decided:
    customers = sa.select(Job.customer_id).where(Job.id.in_(ids))
    lock_customers(connection, set(connection.execute(customers).scalars()))
    rows = _locked(connection, ids, JobState.FAILED)
    followed = following(connection, {(row.customer_id, row.purpose) for row in rows}, now=now)
    alone, follows = [], []
    for row in rows:
        values = followed.get((row.customer_id, row.purpose))
        if values is None:
            alone.append(row)
        else:
            follows.append({"job_id": row.id} | {f"new_{name}": (_ALONE | values)[name] for name in _ALONE})
    change_jobs(connection, [row.id for row in alone], waiting_again(now) | {"joins": None})
    if follows:
        values = {name: sa.bindparam(f"new_{name}") for name in _ALONE}
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        connection.execute(by_id.values(attempts=0, changed_at=now, **values), follows)
        add_job_events(connection, [row["job_id"] for row in follows], now=now)
        # Who had joined one that joins another now joins that one too: nobody joins one that joins another.
        joined = [
            {"before": row["job_id"], "leader": row["new_joins"]} for row in follows if row["new_joins"] is not None
        ]
        if joined:
            by_leader = sa.update(Job).where(Job.joins == sa.bindparam("before"))
            connection.execute(by_leader.values(joins=sa.bindparam("leader")), joined)
    return Decided(len(rows), frozenset(row.account for row in alone))


# What a retried row that is not served on its own becomes, but for what it follows.
_ALONE: dict[str, Any] = {
    "state": JobState.WAITING,
    "due_at": None,
    "joins": None,
    "reason": "",
    "detail": "",
    "result": "",
}


def _held(connection: sa.Connection, ids: list[int]) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
    """Those of these jobs that are held, and the messages that they are held for; locked."""
    # Messages before their jobs, as those who send them lock them: else each could wait for the other.
    held = (InvitationRow.state == InvitationState.HELD, InvitationRow.kind == FIRST)
    messages = sa.select(InvitationRow.id).where(InvitationRow.job_id.in_(ids), *held)
    fetch(connection, messages.order_by(InvitationRow.id).with_for_update())
    rows = _locked(connection, ids, JobState.HELD)
    return rows, _held_messages(connection, [row.id for row in rows])


def repeat(connection: sa.Connection, ids: list[int], *, now: datetime) -> Decided:
    rows, contexts = _held(connection, ids)
    unknown = {context.job_id for context in contexts}
    messages = [row.id for row in rows if row.id in unknown]
    calls = [row for row in rows if row.id not in unknown]
    again: dict[str, Any] = {"state": InvitationState.WAITING, "due_at": now, "attempts": 0}
    settled = {"unknown_attempt": _still_unknown(InvitationRow), "reason": "", "detail": ""}
    _change_invitations(connection, contexts, again | settled)
    change_jobs(connection, messages, {"state": JobState.ISSUED, "reason": "", "detail": "", "changed_at": now})
    change_jobs(connection, [row.id for row in calls], waiting_again(now) | {"unknown_attempt": _still_unknown(Job)})
    channels = frozenset(context.channel for context in contexts)
    return Decided(len(rows), frozenset(row.account for row in calls), channels)


def _still_unknown(row: type[Job] | type[InvitationRow]) -> sa.ColumnElement[Any]:
    """A person has decided that the call is made again; but of one that no key opened only that it can be opened."""
    return sa.case((row.reason == CANNOT_DECRYPT, row.unknown_attempt), else_=sa.null())


def abandon(connection: sa.Connection, ids: list[int], *, now: datetime) -> Decided:
    rows, contexts = _held(connection, ids)
    unknown = {context.job_id for context in contexts}
    messages = [row.id for row in rows if row.id in unknown]
    unknown_calls = with_unknown_calls(connection, [row.id for row in rows if row.id not in unknown])
    gone = {"state": InvitationState.FAILED, "due_at": None, "reason": ABANDONED, "detail": ""}
    _change_invitations(connection, contexts, gone)
    # One whose other message is out is invited all the same.
    invited = _invited(connection, messages)
    ended = [row.id for row in rows if row.id not in invited]
    end = {"state": JobState.CANCELLED, "due_at": None, "reason": ABANDONED, "changed_at": now}
    change_jobs(connection, ended, end)
    done = {"state": JobState.INVITED, "reason": "", "detail": "", "changed_at": now}
    change_jobs(connection, list(invited), done)
    schedule_checks(connection, invited, now=now)
    promote(connection, ended, unknown_calls, now=now)
    return Decided(len(rows))


def _held_messages(connection: sa.Connection, job_ids: list[int]) -> list[sa.Row[Any]]:
    """The messages that these jobs are held for."""
    query = sa.select(InvitationRow.id, InvitationRow.job_id, InvitationRow.channel).join(Job, HELD_FIRST)
    return fetch(connection, query.where(InvitationRow.job_id.in_(job_ids)))


def _invited(connection: sa.Connection, job_ids: list[int]) -> set[int]:
    """Those of these jobs that have a message with the link of now that is out."""
    out = (InvitationState.SENT, InvitationState.DELIVERED)
    query = sa.select(InvitationRow.job_id).join(Job, OF_ITS_SESSION)
    query = query.where(InvitationRow.job_id.in_(job_ids), InvitationRow.state.in_(out))
    return set(connection.execute(query).scalars())


def _change_invitations(connection: sa.Connection, contexts: list[sa.Row[Any]], values: dict[str, Any]) -> None:
    if contexts:
        held = sa.update(InvitationRow).where(bulk.among(InvitationRow.id, "ids"))
        connection.execute(held.values(values), {"ids": bulk.keys(context.id for context in contexts)})
