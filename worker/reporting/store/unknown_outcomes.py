"""The calls and messages of a batch whose outcome is unknown, and the sessions whose tokens were lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.reconciliation import OrphanRule
from worker.core.unknown.store.unknown_outcomes import UNSETTLED


@dataclass(frozen=True)
class UnknownOutcomes:
    """The calls (by account) and messages of a batch that wait to be reconciled, and the earliest due time.

    `orphans` are the calls that were looked up and have opened a session that nothing can use: they are not among
    `calls`, and `reconcile_at` is not theirs.
    """

    calls: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    reconcile_at: datetime | None = None
    orphans: dict[str, "Orphans"] = field(default_factory=dict)


@dataclass(frozen=True)
class Orphans:
    """The sessions of an account that are waited for. `last_opened`: when the call of the last one was made, None: that
    is not stored any more. `first`: when the next look-up is due."""

    number: int
    last_opened: datetime | None
    first: datetime


def waiting_to_reconcile(connection: sa.Connection, batch_id: int) -> UnknownOutcomes:
    """The calls and messages of a batch that wait to be reconciled."""
    unknown = (Job.batch_id == batch_id, Job.state == JobState.WAITING, Job.unknown_attempt.is_not(None))
    is_orphan = Job.reason == bulk.fixed(Reason.ORPHAN)
    jobs = (
        sa.select(
            Job.account,
            is_orphan.label("is_orphan"),
            sa.func.count().label("calls"),
            sa.func.min(Job.due_at).label("first"),
        )
        .where(*unknown)
        .group_by(Job.account, is_orphan)
    )
    messages = sa.select(sa.func.count().label("number"), sa.func.min(InvitationRow.due_at).label("first")).where(
        InvitationRow.batch_id == batch_id,
        InvitationRow.state == InvitationState.WAITING,
        InvitationRow.unknown_attempt.is_not(None),
    )
    calls = fetch(connection, jobs)
    texts = connection.execute(messages).one()
    lost = [row for row in calls if not row.is_orphan]
    first = min(filter(None, [*(row.first for row in lost), texts.first]), default=None)
    orphans = {}
    for row in calls:
        if row.is_orphan:
            # The ids of attempts are ordered by time: none but the last one's attempt is read.
            last = sa.select(Job.unknown_attempt).where(*unknown, is_orphan, Job.account == row.account)
            newest = last.order_by(Job.unknown_attempt.desc()).limit(1).scalar_subquery()
            opened_at = connection.execute(sa.select(Attempt.opened_at).where(Attempt.id == newest)).scalar()
            orphans[row.account] = Orphans(row.calls, opened_at, row.first)
    return UnknownOutcomes({row.account: row.calls for row in lost}, texts.number, first, orphans)


def opened_late(connection: sa.Connection, job_ids: Sequence[int]) -> dict[int, list[str]]:
    """By job: the references of sessions that late answers reported. Their tokens are lost."""
    query = sa.select(Attempt.job_id, Attempt.found).where(
        Attempt.job_id.in_(job_ids), Attempt.found != "", Attempt.invitation_id.is_(None), Attempt.reconciles.is_(None)
    )
    found: dict[int, list[str]] = {}
    for row in fetch(connection, query.order_by(Attempt.opened_at)) if job_ids else ():
        found.setdefault(row.job_id, []).append(row.found)
    return found


def first_due(connection: sa.Connection, batch_id: int) -> dict[str, tuple[int, datetime]]:
    """The jobs of a batch whose calls are being looked up or may be: how many, and when the first, by account."""
    query = (
        sa.select(Job.account, sa.func.count().label("calls"), sa.func.min(Job.lease_until).label("first"))
        .where(Job.batch_id == batch_id, *UNSETTLED)
        .group_by(Job.account)
    )
    return {row.account: (row.calls, row.first) for row in fetch(connection, query)}


def settled_by(connection: sa.Connection, job: Any, orphans: OrphanRule, *, now: datetime) -> datetime | None:
    """When it is known at the latest what became of the waiting job's call. An orphan is looked at many times: only its
    end settles it. None: no such time is stored."""
    if job.unknown_attempt is not None and job.reason == Reason.ORPHAN:
        opened_at = connection.execute(sa.select(Attempt.opened_at).where(Attempt.id == job.unknown_attempt)).scalar()
        if opened_at is not None and (end := orphans.known_by(opened_at, now)) is not None:
            return end
    return job.due_at if job.due_at is not None and job.due_at > now else None
