"""Rows with an unknown outcome: which call to look up, and what is already known about it.

A row without an unknown outcome costs no query here.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from worker.core.model.endings import Kind
from worker.core.model.reasons import Reason
from worker.core.unknown.reconciliation import UnknownCall

MORE = "more"  # the outcome of a look-up that must go on with the next page
UNANSWERED = "unanswered"  # … whose answer is of no use: its worker died, or the call's own answer came first
# Outcomes of look-ups that do not count as failures: rate-limited, refused, unreachable, not made, or successful.
UNCOUNTED = (
    Kind.RATE_LIMITED.value,
    Kind.AUTH.value,
    Kind.OUT_OF_CREDIT.value,
    Reason.UNREACHABLE.value,
    "not_sent",
    "done",
    UNANSWERED,
)
_CustomersJob = aliased(Job)


def calls_to_reconcile(
    connection: sa.Connection, jobs: Sequence[sa.Row[Any]], *, now: datetime
) -> dict[int, UnknownCall]:
    """The calls to look up, by job, for those of these jobs that have an unknown outcome."""
    unknown = [job for job in jobs if job.unknown_attempt is not None]
    if not unknown:
        return {}
    customers = {job.customer_id for job in unknown}
    sessions = (
        sa.select(Job.customer_id, SessionRow.reference)
        .join(SessionRow, SessionRow.job_id == Job.id)
        .where(Job.customer_id.in_(customers))
    )
    owners = {job.unknown_attempt: job.customer_id for job in unknown}
    unknown_calls = _unknown_calls(connection, owners, sessions, Attempt.invitation_id.is_(None), now=now)
    return {job.id: unknown_calls[job.unknown_attempt] for job in unknown}


def messages_to_reconcile(
    connection: sa.Connection, invitations: Sequence[sa.Row[Any]], customers: Mapping[uuid.UUID, str], *, now: datetime
) -> dict[uuid.UUID, UnknownCall]:
    """The calls to look up, by invitation, for those with an unknown outcome. `customers`: by invitation."""
    unknown = [row for row in invitations if row.unknown_attempt is not None]
    if not unknown:
        return {}
    sent = (
        sa.select(Job.customer_id, InvitationRow.reference)
        .join(InvitationRow, InvitationRow.job_id == Job.id)
        .where(Job.customer_id.in_({customers[row.id] for row in unknown}), InvitationRow.reference != "")
    )
    owners = {row.unknown_attempt: customers[row.id] for row in unknown}
    unknown_calls = _unknown_calls(connection, owners, sent, Attempt.invitation_id.is_not(None), now=now)
    return {row.id: unknown_calls[row.unknown_attempt] for row in unknown}


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
    owners: Mapping[uuid.UUID, str],
    known_references: sa.Select[str, str],
    step: sa.ColumnElement[bool],
    *,
    now: datetime,
) -> dict[uuid.UUID, UnknownCall]:
    """The calls to look up, by attempt. `owners`: the attempts' customers. `known_references`: of each customer.

    A call whose attempt row is gone is looked up as well: it must not be repeated without a look-up.
    """
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
    return {
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


def found_by(attempt: sa.Row[Any]) -> list[str]:
    """The references in `found`: those of a look-up are separated by spaces, a late answer has one, as it is."""
    return [attempt.found] if attempt.reconciles is None else attempt.found.split()
