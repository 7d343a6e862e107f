"""Attempts of calls to providers, written before the calls are made."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.foundation.ids import new_ids
from worker.store.attempts.attempt_log import if_unknown, opening
from worker.store.base import bulk, tally
from worker.store.issuing.job_context import ClaimedJob, JobPolicy
from worker.store.limits import budgets
from worker.store.tables import Attempt


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
        jobs = _allowed(jobs, budgets.spend_credits(connection, rule, calls, now=now))
    opened = [_opened(policy, job, attempt_id) for job, attempt_id in zip(jobs, new_ids(now, len(jobs)), strict=True)]
    rows = [_opening(policy, item, now=now) for item in opened]
    if tally.pays(len(rows)):
        for row in rows:
            row["counted"] = 1
        _count(connection, policy.account, opened)
    bulk.add(connection, Attempt, rows)
    if rule.credits is None:  # last: it locks the budget's row until the commit, and other workers wait for it
        budgets.count_credits(connection, rule, calls)
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
    repeatable = policy.repeatable(job.request)
    return OpenedJob(job, attempt_id, *if_unknown(job, reconcile_after, repeatable=repeatable))


def _opening(policy: JobPolicy, item: OpenedJob, *, now: datetime) -> dict[str, Any]:
    values = opening(item, item.job, item.job.id, policy.account, now=now)
    if item.job.asks is not None:
        values["reconciles"] = item.attempt_id
    return values
