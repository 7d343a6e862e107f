"""Decides which calls with an unknown outcome are looked up, and what is already known about each.

A row without an unknown outcome costs no query here.

Jobs may have ended meanwhile, by a verdict about an earlier session. The worker of the call has died, or its answer was
lost. The call may have opened a session, which was paid for and whose link no customer has. Where the provider lists
its sessions, the call is looked up, once, within the account's budget:

    ended with an unknown call  --hand_over-->  a lease that is over
    ended job, lease over  --mark-->  may be looked up at `lease_until`  --claim-->  under a lease  --settle-->  over

The job keeps its state, and nothing is sent for it. A marked job has no owner of its lease. What is claimed and not
answered (its worker died, the account was paused) is marked again when that lease is over.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import (
    DONE,
    ENDED_JOBS,
    LATE,
    MORE,
    NOT_SENT,
    UNANSWERED,
    UNREACHABLE,
    references,
)
from onboarding_worker.core.rules.reconciliation import Found, More, Nothing, UnknownCall, Unmatched

# Outcomes of look-ups that do not count as failures: rate-limited, refused, unreachable, not made, or successful.
_REFUSED = (Kind.RATE_LIMITED.value, Kind.AUTH.value, Kind.OUT_OF_CREDIT.value)
UNCOUNTED = (*_REFUSED, UNREACHABLE, NOT_SENT, DONE, UNANSWERED)
_CustomersJob = aliased(Job)


def calls_to_reconcile(
    connection: sa.Connection, jobs: Sequence[sa.Row[Any]], *, now: datetime
) -> dict[int, UnknownCall]:
    """The calls to look up, by job, for these jobs, each of which has an unknown outcome."""
    sessions = (
        sa.select(Job.customer_id, SessionRow.reference)
        .join(SessionRow, SessionRow.job_id == Job.id)
        .where(Job.customer_id.in_({job.customer_id for job in jobs}))
    )
    return _unknown_calls(connection, jobs, sessions, Attempt.invitation_id.is_(None), now=now)


def messages_to_reconcile(
    connection: sa.Connection, invitations: Sequence[sa.Row[Any]], *, now: datetime
) -> dict[uuid.UUID, UnknownCall]:
    """The calls to look up, by invitation, for these, each of which has an unknown outcome."""
    sent = (
        sa.select(Job.customer_id, InvitationRow.reference)
        .join(InvitationRow, InvitationRow.job_id == Job.id)
        .where(Job.customer_id.in_({row.customer_id for row in invitations}), InvitationRow.reference != "")
    )
    return _unknown_calls(connection, invitations, sent, Attempt.invitation_id.is_not(None), now=now)


def _explained(
    connection: sa.Connection,
    owners: Mapping[uuid.UUID, str],
    opened: Mapping[uuid.UUID, sa.Row[Any]],
    step: sa.ColumnElement[bool],
) -> dict[uuid.UUID, set[str]]:
    """By attempt: references that belong to other calls for the same customer, so not to the attempt itself.

    A late answer names what its own call opened. What a look-up found existed before every call that was made after
    the look-up. If several calls (for several purposes) were in flight at the same time, it may belong to any of them.
    """
    query = (
        sa.select(_CustomersJob.customer_id, Attempt.id, Attempt.reconciles, Attempt.closed_at, Attempt.found)
        .join(_CustomersJob, _CustomersJob.id == Attempt.job_id)
        .where(_CustomersJob.customer_id.in_(set(owners.values())), Attempt.found != "", step)
    )
    rows = fetch(connection, query)

    def explains(row: sa.Row[Any], attempt_id: uuid.UUID) -> bool:
        if row.reconciles is None:
            return bool(row.id != attempt_id)
        return attempt_id in opened and row.reconciles != attempt_id and row.closed_at <= opened[attempt_id].opened_at

    return {
        attempt_id: {
            reference
            for row in rows
            if row.customer_id == owner and explains(row, attempt_id)
            for reference in found_by(row)
        }
        for attempt_id, owner in owners.items()
    }


def _unknown_calls(
    connection: sa.Connection,
    rows: Sequence[sa.Row[Any]],
    known_references: sa.Select[str, str],
    step: sa.ColumnElement[bool],
    *,
    now: datetime,
) -> dict[Any, UnknownCall]:
    """The calls to look up, by row. `known_references`: of each customer.

    A call whose attempt row is gone is looked up as well: it must not be repeated without a look-up.
    """
    owners = {row.unknown_attempt: row.customer_id for row in rows}
    held: dict[str, set[str]] = {}
    for row in fetch(connection, known_references):
        held.setdefault(row.customer_id, set()).add(row.reference)
    attempts = sa.select(Attempt.id, Attempt.opened_at, Attempt.outcome).where(Attempt.id.in_(owners))
    opened = {row.id: row for row in fetch(connection, attempts)}
    explained = _explained(connection, owners, opened, step)
    known = {attempt_id: held.get(owner, set()) | explained[attempt_id] for attempt_id, owner in owners.items()}
    look_ups = (
        sa.select(Attempt.reconciles, Attempt.outcome, sa.func.count().label("times"))
        .where(Attempt.reconciles.in_(known), Attempt.closed_at.is_not(None))
        .group_by(Attempt.reconciles, Attempt.outcome)
    )
    # Look-ups that found something are few.
    found = sa.select(Attempt.reconciles, Attempt.found).where(Attempt.reconciles.in_(known), Attempt.found != "")
    seen: dict[uuid.UUID, set[str]] = {}
    for row in fetch(connection, found):
        seen.setdefault(row.reconciles, set()).update(found_by(row))
    pages: dict[uuid.UUID, int] = {}
    failures: dict[uuid.UUID, int] = {}
    for row in fetch(connection, look_ups):
        if row.outcome == MORE:
            pages[row.reconciles] = row.times
        elif row.outcome not in UNCOUNTED:
            failures[row.reconciles] = failures.get(row.reconciles, 0) + row.times
    calls = {
        attempt_id: UnknownCall(
            attempt_id,
            opened[attempt_id].opened_at if attempt_id in opened else now,
            Kind.CONFLICT if attempt_id in opened and opened[attempt_id].outcome == Kind.CONFLICT else Kind.UNKNOWN,
            frozenset(references),
            frozenset(seen.get(attempt_id, ())),
            page=1 + pages.get(attempt_id, 0),
            failures=failures.get(attempt_id, 0),
        )
        for attempt_id, references in known.items()
    }
    return {row.id: calls[row.unknown_attempt] for row in rows}


def found_by(attempt: sa.Row[Any]) -> list[str]:
    """The references in `found`: those of a look-up are separated by spaces, a late answer has one, as it is."""
    return [attempt.found] if attempt.reconciles is None else attempt.found.split()


NO_OWNER = ""
THE_SWEEP = "sweep"  # the owner of a lease that `hand_over` writes
_ENDED = Job.state.in_(sorted(ENDED_JOBS))
UNSETTLED = (_ENDED, Job.leader_id.is_(None), Job.lease_until.is_not(None), Job.unknown_attempt.is_not(None))
MARKED = (*UNSETTLED, Job.lease_owner == NO_OWNER)
_LookUp = aliased(Attempt)
# A look-up that was answered, or failed for a reason of its own. Another would say the same.
_LOOKED_UP = sa.exists().where(
    _LookUp.reconciles == Attempt.id,
    _LookUp.closed_at.is_not(None),
    sa.or_(_LookUp.outcome == DONE, _LookUp.outcome.not_in((*UNCOUNTED, MORE))),
)


def hand_over(connection: sa.Connection, ids: Collection[int], *, now: datetime) -> None:
    """Let the sweep mark those of these jobs that have ended, have no lease, and have a call with an unknown outcome.

    It knows the accounts that list their sessions; a process that receives webhooks may not.
    """
    if ids:
        unknown = (_ENDED, Job.leader_id.is_(None), Job.lease_until.is_(None), Job.unknown_attempt.is_not(None))
        leased = {"lease_until": now, "lease_owner": THE_SWEEP}
        connection.execute(sa.update(Job).where(Job.id.in_(ids), *unknown).values(leased))


def mark(connection: sa.Connection, ids: Collection[int], accounts: Collection[str]) -> set[int]:
    """Mark those of these jobs, whose leases are over, whose calls may be looked up. Returns their ids.

    `accounts` are those that list their sessions.
    """
    if not ids or not accounts:
        return set()
    query = (
        sa.select(Job.id, Attempt.reconcile_at)
        .join(Attempt, Attempt.id == Job.unknown_attempt)
        .where(
            Job.id.in_(ids),
            Job.account.in_(sorted(accounts)),
            Job.leader_id.is_(None),
            _ENDED,
            Attempt.account == Job.account,
            Attempt.outcome == Kind.UNKNOWN.value,
            Attempt.reconcile_at.is_not(None),
            ~_LOOKED_UP,
        )
    )
    rows = fetch(connection, query)
    if rows:
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        marks = [{"job_id": row.id, "at": row.reconcile_at} for row in rows]
        connection.execute(by_id.values(lease_until=sa.bindparam("at"), lease_owner=NO_OWNER), marks)
    return {row.id for row in rows}


def due(
    account: str | sa.ColumnElement[str], now: sa.ColumnElement[datetime], only_batch: sa.ColumnElement[int] | None
) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of the marked jobs of the account that may be looked up now. As a part of a query."""
    of_batch = () if only_batch is None else (Job.batch_id == only_batch,)
    return (*MARKED, Job.account == account, Job.lease_until <= now, *of_batch)


def release(connection: sa.Connection, leases: Iterable[tuple[int, int]], *, now: datetime) -> None:
    """Let these calls be claimed again at once. `leases`: the jobs' ids and the fences of their claims."""
    for job_id, fence in leases:
        ours = sa.update(Job).where(Job.id == job_id, Job.fence == fence, _ENDED)
        connection.execute(ours.values(lease_until=now, lease_owner=NO_OWNER))


def give_up(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Look these ended jobs' calls up no more: what the request needs cannot be read."""
    if ids := list(ids):
        connection.execute(sa.update(Job).where(Job.id.in_(ids), _ENDED).values(lease_until=None))


def settle(
    connection: sa.Connection, job_id: int, fence: int, attempt_id: uuid.UUID, found: Found, *, now: datetime
) -> bool:
    """Write what the provider lists about the call. False if the call's own answer came before: then that counts.

    A session whose token is lost is named where late answers are: by its call.
    """
    call = sa.update(Attempt).where(Attempt.id == attempt_id, Attempt.outcome == Kind.UNKNOWN.value)
    job = sa.update(Job).where(Job.id == job_id, Job.fence == fence, _ENDED)
    match found:
        case More():
            connection.execute(job.values(lease_until=now, lease_owner=NO_OWNER))  # for its next page
            return True
        case Unmatched():
            opened = {"outcome": LATE, "found": references(found.references), "detail": found.detail[:DETAIL_LENGTH]}
            counts = connection.execute(call.values(opened)).rowcount == 1
            connection.execute(job.values(lease_until=None))
            return counts
        case Nothing():
            # Its outcome stays as it was seen; the job says that nothing is unknown any more.
            counts = connection.execute(call.values(outcome=Kind.UNKNOWN.value)).rowcount == 1
            connection.execute(job.values(lease_until=None, **({"unknown_attempt": None} if counts else {})))
            return counts
