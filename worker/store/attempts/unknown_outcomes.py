"""What is to be looked up, for rows that are in doubt, and what came to light of them.

A row that is in no doubt costs nothing here.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.endings import Kind
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import UnknownCall
from worker.domain.model.states import InvitationState, JobState
from worker.store.base.database import fetch
from worker.store.tables import Attempt, InvitationRow, Job, SessionRow

MORE = "more"  # the outcome of a look-up that has to go on with the next page
# Look-ups that say nothing about the call: they were told to wait, found nobody there, or were not made.
UNCOUNTED = (
    Kind.RATE_LIMITED.value,
    Kind.AUTH.value,
    Kind.OUT_OF_CREDIT.value,
    Reason.UNREACHABLE.value,
    "not_sent",
    "done",
)
_Other = aliased(Job)


@dataclass(frozen=True)
class UnknownOutcomes:
    """Calls (by account) and messages of a batch that wait to be looked up, and when the first of them is."""

    calls: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    reconcile_at: datetime | None = None


def calls_to_reconcile(
    connection: sa.Connection, jobs: Sequence[sa.Row[Any]], *, now: datetime
) -> dict[int, UnknownCall]:
    """For those of these jobs that are in doubt, what there is to look up."""
    unknown = [job for job in jobs if job.unknown_attempt is not None]
    if not unknown:
        return {}
    customers = {job.customer_id for job in unknown}
    sessions = (
        sa.select(Job.customer_id, SessionRow.reference)
        .join(SessionRow, SessionRow.job_id == Job.id)
        .where(Job.customer_id.in_(customers))
    )
    known: dict[str, set[str]] = {}
    for row in fetch(connection, sessions):
        known.setdefault(row.customer_id, set()).add(row.reference)
    owners = {job.unknown_attempt: job.customer_id for job in unknown}
    unknown_calls = _unknown_calls(connection, owners, known, Attempt.invitation_id.is_(None), now=now)
    return {job.id: unknown_calls[job.unknown_attempt] for job in unknown}


def messages_to_reconcile(
    connection: sa.Connection, invitations: Sequence[sa.Row[Any]], customers: Mapping[uuid.UUID, str], *, now: datetime
) -> dict[uuid.UUID, UnknownCall]:
    """For those of these invitations that are in doubt, what there is to look up. `customers`: of each invitation."""
    unknown = [row for row in invitations if row.unknown_attempt is not None]
    if not unknown:
        return {}
    sent = (
        sa.select(Job.customer_id, InvitationRow.reference)
        .join(InvitationRow, InvitationRow.job_id == Job.id)
        .where(Job.customer_id.in_({customers[row.id] for row in unknown}), InvitationRow.reference != "")
    )
    known: dict[str, set[str]] = {}
    for row in fetch(connection, sent):
        known.setdefault(row.customer_id, set()).add(row.reference)
    owners = {row.unknown_attempt: customers[row.id] for row in unknown}
    unknown_calls = _unknown_calls(connection, owners, known, Attempt.invitation_id.is_not(None), now=now)
    return {row.id: unknown_calls[row.unknown_attempt] for row in unknown}


def _explained(
    connection: sa.Connection,
    owners: Mapping[uuid.UUID, str],
    opened: Mapping[uuid.UUID, sa.Row[Any]],
    step: sa.ColumnElement[bool],
) -> dict[uuid.UUID, set[str]]:
    """What came to light of other calls for the same customer, and cannot be of the one in doubt.

    A late answer names what its own call opened. What a look-up found was there before a call that was made after
    it; of calls that were out at the same time, for several purposes, it may be either's.
    """
    query = (
        sa.select(_Other.customer_id, Attempt.id, Attempt.reconciles, Attempt.closed_at, Attempt.found)
        .join(_Other, _Other.id == Attempt.job_id)
        .where(_Other.customer_id.in_(set(owners.values())), Attempt.found != "", step)
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
            for reference in row.found.split()
        }
        for attempt_id, owner in owners.items()
    }


def _unknown_calls(
    connection: sa.Connection,
    owners: Mapping[uuid.UUID, str],
    held: Mapping[str, set[str]],
    step: sa.ColumnElement[bool],
    *,
    now: datetime,
) -> dict[uuid.UUID, UnknownCall]:
    """By the attempts in doubt, given whose they are and what we hold of each customer.

    One whose attempt is gone is looked up all the same: it must not be called plainly.
    """
    attempts = sa.select(Attempt.id, Attempt.opened_at, Attempt.outcome).where(Attempt.id.in_(owners))
    opened = {row.id: row for row in fetch(connection, attempts)}
    explained = _explained(connection, owners, opened, step)
    known = {attempt_id: held.get(owner, set()) | explained[attempt_id] for attempt_id, owner in owners.items()}
    looks = (
        sa.select(Attempt.reconciles, Attempt.outcome, sa.func.count().label("times"))
        .where(Attempt.reconciles.in_(known), Attempt.closed_at.is_not(None))
        .group_by(Attempt.reconciles, Attempt.outcome)
    )
    pages: dict[uuid.UUID, int] = {}
    failures: dict[uuid.UUID, int] = {}
    for row in fetch(connection, looks):
        if row.outcome == MORE:
            pages[row.reconciles] = row.times
        elif row.outcome not in UNCOUNTED:
            failures[row.reconciles] = failures.get(row.reconciles, 0) + row.times
    return {
        attempt_id: UnknownCall(
            attempt_id,
            opened[attempt_id].opened_at if attempt_id in opened else now,
            Kind.CONFLICT if attempt_id in opened and opened[attempt_id].outcome == Kind.CONFLICT else Kind.UNKNOWN,
            frozenset(references),
            page=1 + pages.get(attempt_id, 0),
            failures=failures.get(attempt_id, 0),
        )
        for attempt_id, references in known.items()
    }


def waiting_to_reconcile(connection: sa.Connection, batch_id: int) -> UnknownOutcomes:
    """What of a batch waits to be looked up."""
    jobs = (
        sa.select(Job.account, sa.func.count().label("calls"), sa.func.min(Job.due_at).label("first"))
        .where(Job.batch_id == batch_id, Job.state == JobState.WAITING, Job.unknown_attempt.is_not(None))
        .group_by(Job.account)
    )
    messages = sa.select(sa.func.count().label("number"), sa.func.min(InvitationRow.due_at).label("first")).where(
        InvitationRow.batch_id == batch_id,
        InvitationRow.state == InvitationState.WAITING,
        InvitationRow.unknown_attempt.is_not(None),
    )
    calls = fetch(connection, jobs)
    texts = connection.execute(messages).one()
    first = min(filter(None, [*(row.first for row in calls), texts.first]), default=None)
    return UnknownOutcomes({row.account: row.calls for row in calls}, texts.number, first)


def opened_late(connection: sa.Connection, job_ids: Sequence[int]) -> dict[int, list[str]]:
    """What late answers said that was opened for these jobs, and nobody has the token of."""
    query = sa.select(Attempt.job_id, Attempt.found).where(
        Attempt.job_id.in_(job_ids), Attempt.found != "", Attempt.invitation_id.is_(None), Attempt.reconciles.is_(None)
    )
    found: dict[int, list[str]] = {}
    for row in fetch(connection, query.order_by(Attempt.opened_at)) if job_ids else ():
        found.setdefault(row.job_id, []).append(row.found)
    return found
