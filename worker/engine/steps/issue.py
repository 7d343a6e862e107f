"""Opens a customer's session at the provider, or reconciles a call whose answer was lost.

A kind of work for a dispatcher. `endings` decides how a step ends, `states` which state that leads to, and the store
which rows change.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from worker.domain.limits.rate_limits import spacing
from worker.domain.model.endings import Done, Ending, Kind, Problem
from worker.domain.model.reconciliation import UnknownCall, compare, ending_of_reconciliation
from worker.domain.model.sessions import Session
from worker.engine.dispatch.contract import ClaimedRows, ClaimsInTransaction, Room
from worker.engine.steps.step_endings import (
    FLUSH_MARGIN,
    Transaction,
    WakeInvite,
    ending_of,
    log_chunk,
    unknown_claim_of,
)
from worker.foundation.clock import Clock
from worker.http.client import Http
from worker.providers.contract import Broken, HttpAnswer, HttpRequest, Listing, Provider
from worker.store.issuing.claim_jobs import ClaimedJob, JobPolicy, Jobs
from worker.store.issuing.record_results import Attempts, IssueResult, OpenedJob

Read = TypeVar("Read")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IssueWork:
    """Opens sessions at one account."""

    policy: JobPolicy
    provider: Provider
    http: Http
    timeout: timedelta
    repeat_unknown: bool  # the account says on_unknown = "repeat"
    jobs: Jobs
    attempts: Attempts
    wake_invite: WakeInvite
    transaction: Transaction
    clock: Clock
    jitter: Callable[[], float] = random.random

    @property
    def name(self) -> str:
        return f"issue({self.policy.account})"

    @property
    def permits(self) -> int:
        return self.policy.rule.concurrency

    @property
    def longest_call(self) -> timedelta:
        return self.timeout + FLUSH_MARGIN

    @property
    def has_next_step(self) -> bool:
        return True  # the invitation

    @property
    def spacing(self) -> timedelta:
        return spacing(self.policy.rule.limits)

    def claim(self, room: Room, now: datetime) -> ClaimedRows:
        opened: list[OpenedJob] = []

        def open_events(connection: sa.Connection, jobs: list[ClaimedJob]) -> None:
            first = [job for job in jobs if job.is_event][: room.attempts]
            opened[:] = self._open(first, now, connection, granted=True) if first else []
            for job in first:
                jobs.remove(job)

        with unknown_claim_of(lambda: [item.job for item in opened]):
            claimed = self.jobs.claim(
                self.policy, most=room.rows, events=room.events, now=now, busy=room.busy, on_claim=open_events
            )
        for channel in claimed.adopted_channels:
            self.wake_invite(channel, True)
        return ClaimedRows(claimed.jobs, claimed.again_at, claimed.permits, opened)

    def flush(
        self,
        results: Sequence[IssueResult],
        items: Sequence[ClaimedJob],
        now: datetime,
        shared_claims: Mapping[str, ClaimsInTransaction] | None = None,
    ) -> list[OpenedJob]:
        shared_claims = shared_claims or {}
        channels: set[str] = set()
        opened: list[OpenedJob] = []
        for shared in shared_claims.values():
            shared.begin()
        with self.transaction() as connection:
            if results:
                channels = self.attempts.finish(self.policy, results, now=now, within=connection)
            if items:
                opened = self._open(items, now, connection)
            # In the same order everywhere: each claim locks its sender's budget until the transaction ends.
            for channel in shared_claims:
                if channel in channels:
                    shared_claims[channel].claim(connection, now)
        if results:
            log_chunk(self.name, [(r.opened.job.id, r.ending, r.problem, now - r.began_at) for r in results])
        of_events = [result.opened.job.is_event for result in results]
        for channel in channels:  # after the commit; the sweep sends another for a wake-up that is lost here
            claimed = channel in shared_claims
            if not (claimed and all(of_events)):
                self.wake_invite(channel, any(of_events) and not claimed)
        return opened

    def _open(
        self, items: Sequence[ClaimedJob], now: datetime, connection: sa.Connection, *, granted: bool = False
    ) -> list[OpenedJob]:
        due = [(job, self.repeat_unknown or self.provider.repeatable(job.request)) for job in items]
        opened = self.attempts.open(self.policy, due, now=now, within=connection, granted=granted)
        may_be_made = {item.job.id for item in opened}
        refused = [job for job in items if job.id not in may_be_made]
        if refused:
            self.jobs.release(self.policy.rule, refused, now=now, within=connection)
        return opened

    def item(self, opened: OpenedJob) -> ClaimedJob:
        return opened.job

    def with_slot(self, item: ClaimedJob, slot: datetime) -> ClaimedJob:
        return replace(item, slot=slot)

    def opened_with_slot(self, opened: OpenedJob, slot: datetime) -> OpenedJob:
        return replace(opened, job=replace(opened.job, slot=slot))

    async def call(self, opened: OpenedJob) -> IssueResult:
        """Make the call once. Repeat it only if a new secret replaces the one that was just refused.

        Both calls within one time-out: the lease leaves room for no more.
        """
        if opened.job.unknown_call is not None:
            return await self._reconcile(opened, opened.job.unknown_call)
        request = opened.job.request
        began_at = self.clock()

        def read(answer: HttpAnswer | Broken) -> Session | Problem:
            if isinstance(answer, Broken):
                return self.provider.broken(answer, request)
            return self.provider.read(answer, request, issued_at=began_at, now=self.clock())

        answer = await self._ask(lambda: self.provider.build(request), read)
        if isinstance(answer, Session):
            return IssueResult(opened, began_at, Done(), session=answer)
        return IssueResult(opened, began_at, self._ending(opened, answer), problem=answer)

    async def _reconcile(self, opened: OpenedJob, unknown_call: UnknownCall) -> IssueResult:
        """Reconcile the call with an unknown outcome, instead of repeating it."""
        request = opened.job.request
        began_at = self.clock()
        built = self.provider.look_up(request, page=unknown_call.page)

        def read(answer: HttpAnswer | Broken) -> Listing | Problem:
            if isinstance(answer, Broken):
                return Problem(Kind.TRANSIENT, answer.detail)
            return self.provider.read_look_up(answer, request, now=self.clock())

        if built is None:  # the account had another provider when the call was made
            listing: Listing | Problem = Problem(Kind.BAD_INPUT, self.provider.no_look_up)
        else:
            listing = await self._ask(lambda: self.provider.look_up(request, page=unknown_call.page) or built, read)
        found = listing if isinstance(listing, Problem) else compare(listing, unknown_call)
        ending = ending_of_reconciliation(
            found, unknown_call, opened.job.attempts, self.policy.rule.retry, self.clock(), self.jitter()
        )
        if isinstance(found, Problem):
            return IssueResult(opened, began_at, ending, problem=found)
        return IssueResult(opened, began_at, ending, found=found)

    async def _ask(
        self, build: Callable[[], HttpRequest], read: Callable[[HttpAnswer | Broken], Read | Problem]
    ) -> Read | Problem:
        time = asyncio.get_running_loop().time
        deadline = time() + self.timeout.total_seconds()
        built = build()
        answer = await self._exchange(built, read, self.timeout)
        if isinstance(answer, Problem) and answer.kind is Kind.AUTH:
            self.provider.reload_credentials()
            # Compare the headers: of many calls refused with the old secret, only one sees the reload change it.
            rebuilt = build()
            if rebuilt.headers != built.headers:
                left = timedelta(seconds=deadline - time())
                if left >= self.timeout / 2:
                    answer = await self._exchange(rebuilt, read, left)
                else:  # cut off early, a second call would have an unknown outcome
                    answer = replace(answer, kind=Kind.TRANSIENT, detail=f"{answer.detail}; its secret was replaced")
        return answer

    async def _exchange(
        self, built: HttpRequest, read: Callable[[HttpAnswer | Broken], Read | Problem], within: timedelta
    ) -> Read | Problem:
        answer = await self.http.call(built, timeout=within)
        result = read(answer)
        unreachable = isinstance(answer, Broken) and not answer.sent
        return replace(result, unreachable=True) if isinstance(result, Problem) and unreachable else result

    def _ending(self, opened: OpenedJob, problem: Problem) -> Ending:
        return ending_of(problem, opened.job.attempts, opened, self.policy.rule.retry, self.clock(), self.jitter())

    def not_made(self, opened: OpenedJob) -> IssueResult:
        return IssueResult(opened, self.clock(), None)

    def crashed(self, opened: OpenedJob, error: Exception) -> IssueResult:
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} during the call")
        unknown_call, now = opened.job.unknown_call, self.clock()
        if unknown_call is not None:
            ending = ending_of_reconciliation(
                problem, unknown_call, opened.job.attempts, self.policy.rule.retry, now, self.jitter()
            )
            return IssueResult(opened, now, ending, problem=problem)
        return IssueResult(opened, now, self._ending(opened, problem), problem=problem)

    def halts(self, result: IssueResult) -> bool:
        return result.problem is not None and result.problem.concerns_account

    def release(self, items: Sequence[ClaimedJob], now: datetime) -> None:
        self.jobs.release(self.policy.rule, items, now=now)

    def release_permits(self) -> None:
        self.jobs.release_permits(self.policy)
