"""Jobs: what of a flush is special to them, and how those that were put off become due."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store import ended_calls
from worker.core.limits.rate_adaptation import Stretch
from worker.core.limits.store import budgets
from worker.core.limits.store.backpressure import Backlogs
from worker.core.limits.store.claims import Leased
from worker.core.limits.store.flush import Rows
from worker.core.model.states import JobState
from worker.core.unknown.store.settlement import hold_jobs
from worker.core.work.store import gates, without_call
from worker.core.work.store.issue_results import IssueResult, OpenedJob, open_attempts
from worker.core.work.store.job_context import LEASES, ClaimedJob, JobPolicy
from worker.core.work.store.record_results import record_results


class Jobs(Rows[JobPolicy, ClaimedJob, OpenedJob, IssueResult]):
    """The jobs. One whose customer already has a live session reuses this session without a call."""

    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        super().__init__(database, LEASES, jitter=jitter)
        self._keyring = keyring
        self._backlogs = Backlogs()

    def record(
        self,
        connection: sa.Connection,
        policy: JobPolicy,
        results: Sequence[IssueResult],
        *,
        now: datetime,
        stretch: Stretch | None,
    ) -> set[str]:
        return record_results(connection, self._keyring, policy, results, now=now, stretch=stretch)

    def takes_places(self, _policy: JobPolicy, rows: Sequence[sa.Row[Any]]) -> bool:
        return any(row.planned for row in rows)

    def passed(
        self,
        connection: sa.Connection,
        policy: JobPolicy,
        rows: Sequence[sa.Row[Any]],
        leased: Leased,
        *,
        now: datetime,
    ) -> tuple[list[ClaimedJob], frozenset[str]]:
        ended = [row for row in rows if without_call.is_ended(row)]
        if ended:
            rows = [row for row in rows if not without_call.is_ended(row)]
        jobs, reused = gates.passed(connection, self._keyring, policy, self._backlogs, rows, leased, now=now)
        return jobs + without_call.decrypted_calls(connection, self._keyring, policy, ended, now=now), reused

    def open(
        self, connection: sa.Connection, policy: JobPolicy, jobs: Sequence[ClaimedJob], *, now: datetime
    ) -> list[OpenedJob]:
        opened = open_attempts(connection, policy, jobs, now=now)
        if len(opened) < len(jobs):  # the credit cap is reached
            may_be_made = {item.row.id for item in opened}
            self.release_leased(connection, policy, [job for job in jobs if job.id not in may_be_made], now=now)
        return opened

    def set_aside(self, connection: sa.Connection, kinds: Mapping[int, str], *, now: datetime) -> None:
        hold_jobs(connection, kinds, states=(JobState.WAITING,), now=now)
        ended_calls.give_up(connection, kinds)

    def make_waiting_jobs_due(self, *, now: datetime) -> None:
        after: int | None = 0
        while after is not None:
            # In chunks: there may be a million jobs, and dispatchers must be able to claim meanwhile.
            with self._database.write() as connection:
                after = without_call.make_due(connection, after, now=now)

    def make_snoozed_due(self, names: Collection[str], *, now: datetime) -> None:
        """Make the rows of these accounts and channels due now that only wait for the end of a pause."""
        with self._database.write() as connection:
            without_call.make_snoozed_due(connection, names, now=now)

    def uncount(
        self, connection: sa.Connection, policy: JobPolicy, jobs: Sequence[ClaimedJob], calls: int, *, now: datetime
    ) -> None:
        ended_calls.release(connection, [(job.id, job.fence) for job in jobs if job.ended], now=now)
        budgets.refund(connection, policy.rule, calls)
