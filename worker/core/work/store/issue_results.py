"""A call for a session: its attempt, written before it is made; its result, and what job and session get from that."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.customers.customers import invitation_channels
from worker.core.database import bulk, tally
from worker.core.database.binary_rows import Columns
from worker.core.database.tables import Attempt
from worker.core.foundation.ids import new_ids
from worker.core.limits.store import budgets
from worker.core.model.endings import Done
from worker.core.model.sessions import Session
from worker.core.unknown.reconciliation import Listed
from worker.core.work.row_forms import CallResult, Opened
from worker.core.work.store import sessions
from worker.core.work.store.attempt_log import if_unknown, opening
from worker.core.work.store.job_context import ClaimedJob, JobPolicy


@dataclass(repr=False)
class OpenedJob(Opened[ClaimedJob]):
    """A job whose attempt is written down."""

    @property
    def job_id(self) -> int:
        return self.row.id


def open_attempts(
    connection: sa.Connection, policy: JobPolicy, jobs: Sequence[ClaimedJob], *, now: datetime
) -> list[OpenedJob]:
    """Write attempts for jobs that this transaction has claimed.

    Returns the calls that may be made: fewer than the jobs if the credit cap is reached. A look-up costs no credit.
    """
    calls, rule = sum(not job.looks_up for job in jobs), policy.rule
    if rule.credits is not None:
        jobs = _allowed(jobs, budgets.spend_credits(connection, rule, calls, now=now))
    opened = [_opened(policy, job, attempt_id) for job, attempt_id in zip(jobs, new_ids(now, len(jobs)), strict=True)]
    counted = tally.counts_in_bulk(len(opened))
    if counted:
        _count(connection, policy.account, opened)
    bulk.add_columns(connection, Attempt, _columns(policy, opened, counted, now=now))
    if rule.credits is None:  # last: it locks the budget's row until the commit, and other workers wait for it
        budgets.count_credits(connection, rule, calls)
    return opened


def _count(connection: sa.Connection, account: str, opened: Sequence[OpenedJob]) -> None:
    counts = tally.of(connection)
    for (batch_id, looks_up), calls in Counter((item.row.batch_id, item.row.looks_up) for item in opened).items():
        counts.add(tally.call(batch_id, "", account, look_up=looks_up), calls)


def _allowed(jobs: Sequence[ClaimedJob], calls: int) -> list[ClaimedJob]:
    """All look-ups and the first `calls` calls, in their order."""
    kept = []
    for job in jobs:
        if not job.looks_up:
            if not calls:
                continue
            calls -= 1
        kept.append(job)
    return kept


def _opened(policy: JobPolicy, job: ClaimedJob, attempt_id: uuid.UUID) -> OpenedJob:
    if job.asks is not None:
        return OpenedJob(job, attempt_id, repeatable=True, reconcile_at=None)
    reconcile_after = policy.reconcile_after if policy.reconcile_after is not None else policy.orphan_life(job.request)
    repeatable, reconcile_at = if_unknown(job, reconcile_after, repeatable=policy.repeatable(job.request))
    return OpenedJob(job, attempt_id, repeatable, reconcile_at)


def _columns(policy: JobPolicy, opened: Sequence[OpenedJob], counted: int, *, now: datetime) -> Columns:
    columns = opening(opened, policy.account, counted=counted, now=now)
    for place, item in enumerate(opened):
        if item.row.asks is not None:  # its own id: it looks up a session
            columns["reconciles"][place] = item.attempt_id
    return columns


@dataclass(repr=False)
class IssueResult(CallResult[OpenedJob]):
    """The result of a call for a session. A Done has its `session`.

    A session whose ending is not Done is kept, and no message is written for it. `floor`: the freshness floor of the
    new session's link. `token_digest`: the hash by which its token is known again. `repeats`: another customer has what
    the answer has, so nothing of it is kept (`repeated_answers`).
    """

    session: Session | None = None
    floor: timedelta | None = None
    called: bool = True  # False: a look-up that needed no request
    token_digest: str | None = None
    repeats: bool = False
    news: Listed | None = None  # what the provider's list says about the session that the job asks for

    @property
    def succeeded(self) -> bool:
        return self.session is not None


def floor_seconds(result: IssueResult) -> int:
    """The job's freshness floor from now on."""
    return int((result.floor if result.floor is not None else result.opened.row.floor).total_seconds())


def entity_id(result: IssueResult) -> str:
    """The provider's entity of the customer. It is sent from now on: otherwise the provider makes another entity."""
    new = result.session.references.get("entityId") if result.session and not result.repeats else None
    return new or result.opened.row.request.entity_id


def new_session(
    policy: JobPolicy,
    result: IssueResult,
    id_: uuid.UUID,
    *,
    priority: int,
    invite_at: datetime | None,
    pressed: bool = False,
    cancelled: bool = False,
    live: bool = False,
) -> sessions.NewSession:
    """The session of a result that has one. `pressed`: the customer stands at the stable link."""
    job = result.opened.row
    assert result.session is not None  # noqa: S101 -- for mypy
    channels = invitation_channels(job.channel) if isinstance(result.ending, Done) else ()
    silent = pressed and bool(channels)
    if silent:
        channels = ()
    return sessions.NewSession(
        id=id_,
        job_id=job.id,
        batch_id=job.batch_id,
        customer_id=job.request.customer.customer_id,
        purpose=job.purpose,
        channels=channels,
        priority=priority,
        account=policy.account,
        issued_at=result.began_at,
        replaces=job.session_id,
        session=result.session,
        invite_at=invite_at,
        cancelled=cancelled,
        live=live,
        silent=silent,
        token_digest=result.token_digest,
        zones=policy.contact.hours.zones(job.request.customer, channels),
    )
