"""The story: ask a provider for a customer's session, then send the customer its link.

Two kinds of work for a shift. Each step ends in one of the ways of `endings`; which state that leads to is
`states`' and which rows change is `store`'s.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from worker.clock import Clock
from worker.endings import Done, Ending, Hold, Kind, Problem, RetryPolicy, ending_for, resume_at
from worker.http import Http
from worker.invitations import Invitation, TemplateProblem, Templates
from worker.lookups import Doubt, compare, ending_of_look_up
from worker.pacing import spacing
from worker.providers.contract import Broken, HttpAnswer, HttpRequest, Listing, Provider
from worker.senders.contract import Message, Receipt, Sender
from worker.sessions import Session, is_stale
from worker.store.attempts import Attempts, IssueResult, OpenedJob
from worker.store.handovers import Handovers, InviteResult, OpenedInvitation
from worker.store.invitations import Invitations, InvitationTerms, TakenInvitation
from worker.store.jobs import Jobs, JobTerms, TakenJob
from worker.work import TakenRows

# Between the last look at the lease and the result: the call's own time-out, and writing what came of it.
FLUSH_MARGIN = timedelta(seconds=5)
Ring = Callable[[str], None]
Read = TypeVar("Read")
Transaction = Callable[[], AbstractContextManager[sa.Connection]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IssueWork:
    """Asks one account for sessions."""

    terms: JobTerms
    provider: Provider
    http: Http
    timeout: timedelta
    repeat_unknown: bool  # the account says on_unknown = "repeat"
    jobs: Jobs
    attempts: Attempts
    ring_invite: Ring
    transaction: Transaction
    clock: Clock
    jitter: Callable[[], float] = random.random

    @property
    def name(self) -> str:
        return f"issue({self.terms.account})"

    @property
    def places(self) -> int:
        return self.terms.rule.concurrency

    @property
    def longest_call(self) -> timedelta:
        return self.timeout + FLUSH_MARGIN

    @property
    def spacing(self) -> timedelta:
        return spacing(self.terms.rule.limits)

    def take(self, most: int, now: datetime, busy: int = 0) -> TakenRows:
        taken = self.jobs.take(self.terms, most=most, now=now, busy=busy)
        for channel in taken.adopted_channels:
            self.ring_invite(channel)
        return TakenRows(taken.jobs, taken.again_at, taken.places)

    def turn(self, results: Sequence[IssueResult], items: Sequence[TakenJob], now: datetime) -> list[OpenedJob]:
        channels: set[str] = set()
        opened: list[OpenedJob] = []
        with self.transaction() as connection:
            if results:
                channels = self.attempts.finish(self.terms, results, now=now, within=connection)
            if items:
                opened = self._open(items, now, connection)
        if results:
            _log_lot(self.name, [(r.opened.job.id, r.ending, r.problem, now - r.began_at) for r in results])
        for channel in channels:
            self.ring_invite(channel)  # after the commit; the sweep rings again for a bell that is lost here
        return opened

    def _open(self, items: Sequence[TakenJob], now: datetime, connection: sa.Connection) -> list[OpenedJob]:
        due = [(job, self.repeat_unknown or self.provider.repeatable(job.request)) for job in items]
        opened = self.attempts.open(self.terms, due, now=now, within=connection)
        may_be_made = {item.job.id for item in opened}
        refused = [job for job in items if job.id not in may_be_made]
        if refused:
            self.jobs.release(self.terms.rule, refused, now=now, within=connection)
        return opened

    def item(self, opened: OpenedJob) -> TakenJob:
        return opened.job

    async def call(self, opened: OpenedJob) -> IssueResult:
        """Make the call, once; a second time only where a new secret replaces one that was just refused.

        Both within one time-out: the lease leaves room for no more.
        """
        if opened.job.doubt is not None:
            return await self._look_up(opened, opened.job.doubt)
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

    async def _look_up(self, opened: OpenedJob, doubt: Doubt) -> IssueResult:
        """Ask what became of the call in doubt, instead of making it again."""
        request = opened.job.request
        began_at = self.clock()
        built = self.provider.look_up(request, page=doubt.page)

        def read(answer: HttpAnswer | Broken) -> Listing | Problem:
            if isinstance(answer, Broken):
                return Problem(Kind.TRANSIENT, answer.detail)
            return self.provider.read_look_up(answer, request, now=self.clock())

        if built is None:  # the account was one of another provider when the call was made
            listing: Listing | Problem = Problem(Kind.BAD_INPUT, self.provider.no_look_up)
        else:
            listing = await self._ask(lambda: self.provider.look_up(request, page=doubt.page) or built, read)
        found = listing if isinstance(listing, Problem) else compare(listing, doubt)
        ending = ending_of_look_up(
            found, doubt, opened.job.attempts, self.terms.rule.policy, self.clock(), self.jitter()
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
            # Not whether it has changed just now: of many calls refused with the old secret, one finds the new.
            anew = build()
            if anew.headers != built.headers:
                left = timedelta(seconds=deadline - time())
                if left >= self.timeout / 2:
                    answer = await self._exchange(anew, read, left)
                else:  # cut off early, the second call would be in doubt; the account has done nothing wrong
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
        return _ending(problem, opened.job.attempts, opened, self.terms.rule.policy, self.clock(), self.jitter())

    def not_made(self, opened: OpenedJob) -> IssueResult:
        return IssueResult(opened, self.clock(), None)

    def broke(self, opened: OpenedJob, error: Exception) -> IssueResult:
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} during the call")
        doubt, now = opened.job.doubt, self.clock()
        if doubt is not None:
            ending = ending_of_look_up(problem, doubt, opened.job.attempts, self.terms.rule.policy, now, self.jitter())
            return IssueResult(opened, now, ending, problem=problem)
        return IssueResult(opened, now, self._ending(opened, problem), problem=problem)

    def halts(self, result: IssueResult) -> bool:
        return result.problem is not None and result.problem.concerns_account

    def release(self, items: Sequence[TakenJob], now: datetime) -> None:
        self.jobs.release(self.terms.rule, items, now=now)

    def leave(self) -> None:
        self.jobs.leave(self.terms)


@dataclass(frozen=True)
class InviteWork:
    """Sends invitations over one channel."""

    terms: InvitationTerms
    sender: Sender
    sender_name: str
    timeout: timedelta
    templates: Templates
    providers: dict[str, Provider]
    invitations: Invitations
    handovers: Handovers
    transaction: Transaction
    clock: Clock
    jitter: Callable[[], float] = field(default=random.random)

    @property
    def name(self) -> str:
        return f"invite({self.terms.channel})"

    @property
    def places(self) -> int:
        return self.terms.rule.concurrency

    @property
    def longest_call(self) -> timedelta:
        return self.timeout + FLUSH_MARGIN

    @property
    def spacing(self) -> timedelta:
        return spacing(self.terms.rule.limits)

    def take(self, most: int, now: datetime, busy: int = 0) -> TakenRows:
        taken = self.invitations.take(self.terms, most=most, now=now, busy=busy)
        return TakenRows(taken.invitations, taken.again_at, taken.places)

    def turn(
        self, results: Sequence[InviteResult], items: Sequence[TakenInvitation], now: datetime
    ) -> list[OpenedInvitation]:
        opened: list[OpenedInvitation] = []
        with self.transaction() as connection:
            if results:
                self.handovers.finish(self.terms, results, now=now, within=connection)
            if items:
                opened = self._open(items, now, connection)
        if results:
            _log_lot(self.name, [(r.opened.invitation.job_id, r.ending, r.problem, now - r.began_at) for r in results])
        return opened

    def _open(
        self, items: Sequence[TakenInvitation], now: datetime, connection: sa.Connection
    ) -> list[OpenedInvitation]:
        """Write the hand-overs; a link that has become too old goes back for a new session instead."""
        # One in doubt is looked up first: it may have been sent while its link was fresh.
        stale = [item for item in items if item.doubt is None and _is_stale(item, now)]
        if stale:
            due = [(item, self._reissue_at(item, now)) for item in stale]
            self.invitations.replace(self.terms, due, now=now, within=connection)
        fresh = [item for item in items if item.doubt is not None or not _is_stale(item, now)]
        if not fresh:
            return []
        repeatable = self.sender.repeatable()
        opened = self.handovers.open(self.terms, fresh, repeatable=repeatable, now=now, within=connection)
        if not opened:
            self.invitations.release(self.terms.rule, fresh, now=now, within=connection)
        return opened

    def _reissue_at(self, item: TakenInvitation, now: datetime) -> datetime:
        provider = self.providers.get(item.account)  # None: the account was taken out of the configuration
        return provider.reissue_at(item.expires_at) if provider else max(item.expires_at, now)

    def item(self, opened: OpenedInvitation) -> TakenInvitation:
        return opened.invitation

    async def call(self, opened: OpenedInvitation) -> InviteResult:
        item = opened.invitation
        began_at = self.clock()
        if item.doubt is not None:
            return await self._look_up(opened, item.doubt)
        try:
            message = self._message(item, now=began_at)
        except TemplateProblem as error:
            # The operator's template, not the customer: nothing was sent, and a person can put it right.
            problem = Problem(Kind.BAD_INPUT, str(error), code="template")
            return InviteResult(opened, began_at, Hold("template", str(error)), problem=problem)
        receipt = await self.sender.send(message)
        if isinstance(receipt, Problem):
            return InviteResult(opened, began_at, self._ending(opened, receipt), problem=receipt)
        return InviteResult(opened, began_at, Done(), reference=receipt.reference)

    async def _look_up(self, opened: OpenedInvitation, doubt: Doubt) -> InviteResult:
        """Ask what became of the hand-over in doubt, instead of making it again."""
        item = opened.invitation
        began_at = self.clock()
        person = item.customer.person
        to = person.email if self.terms.channel == "email" else person.phone
        found = await self.sender.look_up(to, item.link, since=doubt.opened_at, known=doubt.known)
        if isinstance(found, Receipt):
            return InviteResult(opened, began_at, Done(), reference=found.reference)
        policy = self.terms.rule.policy
        ending = ending_of_look_up(found, doubt, item.attempts, policy, self.clock(), self.jitter())
        if isinstance(found, Problem):
            return InviteResult(opened, began_at, ending, problem=found)
        return InviteResult(opened, began_at, ending, found=found)

    def _message(self, item: TakenInvitation, *, now: datetime) -> Message:
        person = item.customer.person
        channel = self.terms.channel
        invitation = Invitation(item.customer, item.link, item.expires_at, self.sender_name, item.kind)
        words = self.templates.render(invitation, channel=channel, now=now)
        return Message(
            key=item.id.hex,
            to=person.email if channel == "email" else person.phone,
            language=words.language,
            subject=words.subject,
            text=words.text,
            html=words.html,
            valid_for=item.expires_at - now,
        )

    def _ending(self, opened: OpenedInvitation, problem: Problem) -> Ending:
        policy = self.terms.rule.policy
        return _ending(problem, opened.invitation.attempts, opened, policy, self.clock(), self.jitter())

    def not_made(self, opened: OpenedInvitation) -> InviteResult:
        return InviteResult(opened, self.clock(), None)

    def broke(self, opened: OpenedInvitation, error: Exception) -> InviteResult:
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} while sending")
        doubt, now = opened.invitation.doubt, self.clock()
        if doubt is not None:
            attempts, policy = opened.invitation.attempts, self.terms.rule.policy
            ending = ending_of_look_up(problem, doubt, attempts, policy, now, self.jitter())
            return InviteResult(opened, now, ending, problem=problem)
        return InviteResult(opened, now, self._ending(opened, problem), problem=problem)

    def halts(self, result: InviteResult) -> bool:
        return result.problem is not None and result.problem.concerns_account

    def release(self, items: Sequence[TakenInvitation], now: datetime) -> None:
        self.invitations.release(self.terms.rule, items, now=now)

    def leave(self) -> None:
        self.invitations.leave(self.terms)


def _is_stale(item: TakenInvitation, now: datetime) -> bool:
    return is_stale(item.expires_at, floor=item.floor, now=now)


def _ending(
    problem: Problem,
    attempts: int,
    opened: OpenedJob | OpenedInvitation,
    policy: RetryPolicy,
    now: datetime,
    jitter: float,
) -> Ending:
    return ending_for(
        problem,
        attempt=attempts + 1,
        repeatable=opened.repeatable,
        policy=policy,
        resume_at=resume_at(problem, policy, now),
        now=now,
        jitter=jitter,
        look_up_at=opened.look_up_at,
    )


Step = tuple[int, Ending | None, Problem | None, timedelta]


def _log_lot(work: str, steps: Sequence[Step]) -> None:
    """A line for the lot, and one for each step: job, ending, kind, seconds until it was written."""
    counts = Counter("not made" if ending is None else type(ending).__name__.lower() for _, ending, _, _ in steps)
    log.info("%s: %s", work, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    for job_id, ending, problem, took in steps:
        level = logging.DEBUG if problem is None else logging.INFO
        if log.isEnabledFor(level):
            name = "not made" if ending is None else type(ending).__name__.lower()
            why = f" ({problem.kind.value}{f' {problem.code}' if problem.code else ''})" if problem else ""
            log.log(level, "%s: job %d: %s%s, %.3f s", work, job_id, name, why, took.total_seconds())
