"""Attempts of calls to providers, written before the calls are made."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database import bulk, tally
from worker.core.database.columns import Columns
from worker.core.database.tables import Attempt
from worker.core.foundation.ids import new_ids
from worker.core.limits.store import credits
from worker.core.work.store.attempt_log import if_unknown, opening
from worker.core.work.store.job_context import ClaimedJob, JobPolicy


@dataclass(repr=False)
class OpenedJob:
    """A job whose attempt is written down, so its call may be made once. `reconcile_at`: see the attempt's column."""

    job: ClaimedJob
    attempt_id: uuid.UUID
    repeatable: bool
    reconcile_at: datetime | None = None


def open_attempts(
    connection: sa.Connection, policy: JobPolicy, jobs: Sequence[ClaimedJob], *, now: datetime
) -> list[OpenedJob]:
    """Write attempts for jobs that this transaction has claimed.

    Returns the calls that may be made: fewer than the jobs if the credit cap is reached. A look-up costs no credit.
    """
    calls, rule = sum(not job.looks_up for job in jobs), policy.rule
    if rule.credits is not None:
        jobs = _allowed(jobs, credits.spend(connection, rule, calls, now=now))
    opened = [_opened(policy, job, attempt_id) for job, attempt_id in zip(jobs, new_ids(now, len(jobs)), strict=True)]
    counted = tally.pays(len(opened))
    if counted:
        _count(connection, policy.account, opened)
    bulk.add_columns(connection, Attempt, _columns(policy, opened, counted, now=now))
    if rule.credits is None:  # last: it locks the budget's row until the commit, and other workers wait for it
        credits.count(connection, rule, calls)
    return opened


def _count(connection: sa.Connection, account: str, opened: Sequence[OpenedJob]) -> None:
    counts = tally.of(connection)
    for (batch_id, looks_up), calls in Counter((item.job.batch_id, item.job.looks_up) for item in opened).items():
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
        return OpenedJob(job, attempt_id, repeatable=True)
    reconcile_after = policy.reconcile_after if policy.reconcile_after is not None else policy.orphan_life(job.request)
    repeatable, reconcile_at = if_unknown(job, reconcile_after, repeatable=policy.repeatable(job.request))
    return OpenedJob(job, attempt_id, repeatable, reconcile_at)


def _columns(policy: JobPolicy, opened: Sequence[OpenedJob], counted: int, *, now: datetime) -> Columns:
    jobs = [item.job for item in opened]
    columns = opening(opened, jobs, [job.id for job in jobs], policy.account, counted=counted, now=now)
    for place, item in enumerate(opened):
        if item.job.asks is not None:  # its own id: it looks up a session
            columns["reconciles"][place] = item.attempt_id
    return columns
