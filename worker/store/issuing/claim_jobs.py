"""Claims of jobs: reserve calls from the account's budget and lease as many due jobs, in one transaction."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.domain.limits.budgets import BudgetRule
from worker.domain.model.states import JobState
from worker.foundation.keyring import Keyring
from worker.store.attempts import ended_calls
from worker.store.base.database import Database
from worker.store.base.row_by_row import Chunk, row_by_row
from worker.store.issuing import deferral, ended_jobs, gates
from worker.store.issuing.job_context import LEASES, ClaimedJob, JobPolicy
from worker.store.issuing.sender_backlog import Backlogs
from worker.store.limits import budgets
from worker.store.limits.claims import Claims
from worker.store.onboarding.held_rows import hold_jobs


@dataclass(frozen=True)
class ClaimedJobs:
    """The claimed jobs. `again_at`: when to claim again; None: nothing is due, or a person must act.

    `slots`: the reserved times of their calls, one for each job; none if the account has no limit.
    """

    jobs: list[ClaimedJob]
    again_at: datetime | None = None
    permits: int | None = None  # calls that may be in flight from now on
    # Some jobs adopted sessions that are already live: these channels may have invitations due.
    adopted_channels: frozenset[str] = frozenset()
    slots: tuple[datetime, ...] = ()


class Jobs:
    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        self._database = database
        self._keyring = keyring
        self._claims = Claims(LEASES, jitter=jitter)
        self._backlogs = Backlogs()

    def claim(
        self,
        policy: JobPolicy,
        *,
        most: int,
        now: datetime,
        busy: int = 0,
        events: int = 0,
        lead: timedelta = timedelta(0),
        on_claim: Callable[[sa.Connection, list[ClaimedJob]], None] = lambda _connection, _jobs: None,
    ) -> ClaimedJobs:
        """Lease up to `most` due jobs whose calls fit into the policy's horizon, and of events up to `events`.

        A job whose customer already has a live session adopts this session without a call. `busy` is the number of
        calls in flight. No slot is earlier than `lead` from now. `on_claim` runs with the jobs in the same transaction.
        """

        def work(connection: sa.Connection, chunk: Chunk) -> ClaimedJobs:
            leased = self._claims.lease(connection, policy, most=most, events=events, busy=busy, lead=lead, now=now)
            rows = chunk.of(leased.rows)
            ended = [row for row in rows if ended_jobs.is_ended(row)]
            if ended:
                rows = [row for row in rows if not ended_jobs.is_ended(row)]
            jobs, adopted = gates.passed(
                connection, self._keyring, policy, self._backlogs, rows, more=leased.more, now=now
            )
            jobs += ended_jobs.decrypted_calls(connection, self._keyring, policy, ended, now=now)
            again_at = leased.reserve(connection, len(jobs), now=now)
            if leased.granted.probe:
                jobs = [replace(job, probe=True) for job in jobs]
            slots = leased.slots(len(jobs))
            on_claim(connection, jobs)
            return ClaimedJobs(jobs, again_at, leased.permits, adopted, slots)

        def set_aside(connection: sa.Connection, kinds: Mapping[int, str]) -> None:
            hold_jobs(connection, kinds, states=(JobState.WAITING,), now=now)
            ended_calls.give_up(connection, kinds)

        return row_by_row(self._database, f"claim for {policy.account}", work, set_aside)

    def make_waiting_jobs_due(self, *, now: datetime) -> None:
        """Make all jobs that wait for a sender due now."""
        after: int | None = 0
        while after is not None:
            # In chunks: there may be a million jobs, and dispatchers must be able to claim meanwhile.
            with self._database.write() as connection:
                after = deferral.make_due(connection, after, now=now)

    def make_snoozed_due(self, names: Collection[str], *, now: datetime) -> None:
        """Make the rows of these accounts and channels due now that only wait for the end of a pause."""
        with self._database.write() as connection:
            deferral.make_snoozed_due(connection, names, now=now)

    def release_permits(self, policy: JobPolicy) -> None:
        """Release the account's permits: no further call is made."""
        with self._database.write() as connection:
            self._claims.release_permits(connection, policy)

    def release(
        self,
        rule: BudgetRule,
        jobs: Iterable[ClaimedJob],
        unused: Sequence[datetime] = (),
        *,
        now: datetime,
        within: sa.Connection | None = None,
    ) -> None:
        """Release jobs for which no call was made, and unused slots. The jobs are due as before; nothing is counted."""
        jobs = list(jobs)
        with self._database.write(within) as connection:
            if any(job.probe for job in jobs):
                budgets.end_probe(connection, rule)
            unmade = LEASES.give_back(connection, [(job.id, job.fence, job.lease_until) for job in jobs], now=now)
            budgets.give_back(connection, rule, unused)
            budgets.refund_credits(connection, rule, unmade)

    def hold(self, rule: BudgetRule, jobs: Sequence[ClaimedJob], kind: str, *, now: datetime) -> None:
        """Hold jobs for which no attempt can be written, under their leases. `kind` names the exception."""
        with self._database.write() as connection:
            if any(job.probe for job in jobs):
                budgets.end_probe(connection, rule)
            ours = LEASES.still_ours(connection, [(job.id, job.fence) for job in jobs])
            hold_jobs(connection, dict.fromkeys(ours, kind), states=(JobState.WORKING,), now=now)
