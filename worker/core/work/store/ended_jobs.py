"""Claimed jobs that have ended: their calls are looked up (`lifecycle.store.ended_calls`). No gate concerns them."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.store.admission import release_cleared
from worker.core.database.encrypted_values import Erased
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.store import ended_calls
from worker.core.unknown.reconciliation import Nothing
from worker.core.unknown.store.unknown_outcomes import calls_to_reconcile
from worker.core.work.store.issue_results import IssueResult
from worker.core.work.store.job_context import ClaimedJob, JobPolicy, decrypted


def is_ended(row: Any) -> bool:
    """Whether this claimed row is of a job that has ended: no other claimed row is due at no time."""
    return row.due_at is None


def decrypted_calls(
    connection: sa.Connection, keyring: Keyring, policy: JobPolicy, rows: Sequence[Any], *, now: datetime
) -> list[ClaimedJob]:
    """The jobs of these rows, which have ended, with the calls to look up."""
    if not rows:
        return []
    calls = calls_to_reconcile(connection, rows, now=now)
    jobs: list[ClaimedJob] = []
    unread: list[int] = []
    for row in rows:
        try:
            job = decrypted(
                keyring,
                row,
                calls[row.id],
                provider=policy.provider,
                session_id=row.session_id,
            )
        except (CannotDecrypt, Erased):
            unread.append(row.id)
        else:
            jobs.append(replace(job, ended=True, due_at=now))
    ended_calls.give_up(connection, unread)
    return jobs


def settle(connection: sa.Connection, results: Sequence[IssueResult], *, now: datetime) -> set[uuid.UUID]:
    """Write what was found of calls whose jobs have ended. Returns the look-ups that calls' own answers overtook.

    A look-up that was not made is due again at once: at the end of its lease a new dispatcher would claim it, which
    does not know yet how long its flushes take, and would miss the slot again.
    """
    overtaken, nothing = set(), []
    not_made = [item.opened.job for item in results if item.ending is None and item.found is None]
    ended_calls.release(connection, [(job.id, job.fence) for job in not_made if job.ended], now=now)
    for result in results:
        job = result.opened.job
        if job.ended and job.unknown_call is not None and result.found is not None:
            call = job.unknown_call.attempt_id
            if not ended_calls.settle(connection, job.id, job.fence, call, result.found, now=now):
                overtaken.add(result.opened.attempt_id)
            elif isinstance(result.found, Nothing):
                nothing.append(job.id)
    if nothing:
        release_cleared(connection, nothing, now=now)
    return overtaken
