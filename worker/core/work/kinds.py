"""The two kinds of work for a dispatcher: `IssueWork` opens a customer's session at the provider, `InviteWork` sends
the link. Either looks up a call whose answer or receipt was lost, instead of repeating it.

`endings` decides how a step ends, `states` which state that leads to, and the store which rows change. Refused here: a
session whose link was born too old to be sent, and one that may be an earlier one; and when the time of a message has
come, a link that is not fresh any more, and a message into quiet hours.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult, Flushed
from onboarding_worker.core.dispatch.state import Work
from onboarding_worker.core.foundation.notation import show_duration
from onboarding_worker.core.messages.claim_invitations import has_stale_link
from onboarding_worker.core.messages.message_context import ClaimedInvitation, InvitationPolicy, InviteResult
from onboarding_worker.core.model.channels import address_of
from onboarding_worker.core.model.endings import Asked, Done, Ending, Hold, Kind, Problem, Snooze
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.core.model.metrics import CALLS, FRESHNESS, MESSAGES
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.core.model.stops import SHORT_LINKS
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rules.budgets import PROBE_PATIENCE
from onboarding_worker.core.rules.contact import CannotWrite, Writer, is_stale
from onboarding_worker.core.rules.contracts import Http, Provider, Receipt, Sender
from onboarding_worker.core.rules.quiet_hours import allowed_at
from onboarding_worker.core.rules.reconciliation import (
    Listed,
    Listing,
    OrphanRule,
    UnknownCall,
    Unmatched,
    asked_anew,
    compare,
    ending_of_reconciliation,
    not_before_its_wait,
)
from onboarding_worker.core.rules.throughput import Stretch
from onboarding_worker.core.work.store.job_context import ClaimedJob, IssueResult, JobPolicy

# (channel, whether it is for an event); must return at once
WakeInvite = Callable[[WakeUp, bool], None]
# How often a list is read in vain, before the decision about a session is made without it.
QUESTIONS = 3


# Where an answer may hold an earlier token, whose link has aged, one short link shows nothing. So many in a row do.
SHORT_IN_A_ROW = 3


@dataclass
class FirstLinks:
    """Whether the account's links live long enough to be sent, as this process has seen it.

    A link that is born below its floor is paid for and never sent. So until one link has lived long enough, calls are
    made one at a time: if the configuration or the provider is wrong, that costs one session and not one for each row.
    Calls come from the loop, claims from threads.
    """

    seen: bool = False  # whether a link has lived long enough
    trying: set[int] = field(default_factory=set)  # the jobs whose calls are to show it
    _short: int = 0
    _reserved: bool = False  # a claim looks for such a job
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self) -> bool:
        """Whether the caller may claim a job whose call is to show it. It calls `begin` then, whatever it has found."""
        with self._lock:
            if self.trying or self._reserved:
                return False
            self._reserved = True
            return True

    def was_short(self) -> bool:
        """Count a link that may have aged. Returns whether so many were short that the account's links are."""
        self._short += 1
        return not self.seen and self._short >= SHORT_IN_A_ROW

    def begin(self, job_ids: set[int]) -> None:
        with self._lock:
            self._reserved = False
            self.trying |= job_ids

    def end(self, job_ids: Iterable[int]) -> None:
        """These jobs' calls are made, or are not made now."""
        if self.trying:
            with self._lock:
                self.trying.difference_update(job_ids)


@dataclass(kw_only=True)
class IssueWork(Work[ClaimedJob, JobPolicy]):
    """Opens sessions at one account."""

    step, doing = "issue", "during the call"
    metric = CALLS
    has_next_step = True  # the invitation
    provider: Provider
    http: Http
    wait_for_orphans: bool  # the account says on_orphan = "wait"
    wake_invite: WakeInvite
    floor: Callable[[SessionRequest], timedelta]  # the least life that a new link must have
    first_links: FirstLinks
    keep_news: Callable[[str, Sequence[Listed], datetime], None]  # of an account's sessions

    def flush(
        self,
        results: Sequence[IssueResult],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[ClaimedJob]:
        # Before the jobs are decided about again: the next sweep applies it first, as a webhook's.
        if news := [one.news for one in results if one.news is not None]:
            self.keep_news(self.policy.account, news, self.clock())
        self.first_links.end(result.row.id for result in results)
        waits = room is not None and not self.first_links.seen
        tries = waits and self.first_links.reserve()  # two flushes may be under way
        if room is not None and waits:
            room = replace(room, rows=min(room.rows, 1), events=min(room.events, 1)) if tries else None
        tried: set[int] = set()
        try:
            flushed = super().flush(results, room, stretch, unused)
            if tries:
                tried = {job.id for job in flushed.opened if not job.looks_up}
        finally:
            if tries:
                self.first_links.begin(tried)
        if flushed.channels:
            at_once = not results or any(result.row.is_event for result in results)
            for channel in sorted(flushed.channels):  # after the commit; the sweep sends another if one is lost here
                self.wake_invite(WakeUp.invite(channel), at_once)
        return replace(flushed, again_at=self.clock() + PROBE_PATIENCE) if waits and room is None else flushed

    async def call(self, job: ClaimedJob, now: datetime, may_write: MayWrite, /) -> IssueResult:
        if job.probe:  # it finds out whether the account works again: its secret may have been replaced
            self.provider.reload_credentials()
        if job.unknown_call is not None:
            return await self._reconcile(job, job.unknown_call, may_write)
        if job.asks_about is not None:
            return await self._ask_about(job, job.asks_about, may_write)
        built, began_at = self.provider.build(job), now
        answer = await self.http.call(built, timeout=self.timeout, may_write=may_write)
        found: Session | Problem
        if isinstance(answer, HttpAnswer):
            found = self.provider.read(answer, job, issued_at=began_at, now=self.clock())
        else:
            found = replace(self.provider.broken(answer, job), unreachable=not answer.sent)
        if isinstance(found, Session):
            self.second_look.succeeded(job.id, began_at)
            floor = self.floor(job)
            if is_stale(found.expires_at, floor=floor, now=began_at):
                return self._born_too_old(job, began_at, found, floor)
            self.first_links.seen = True
            return CallResult(job, began_at, Done(), session=found, floor=floor)
        if found.kind is Kind.AUTH:
            found = self._unless_replaced(found, built, lambda: self.provider.build(job))
        found = self.second_look.judged(job.id, began_at, found, now=self.clock())
        return CallResult(job, began_at, self.ending(job, found, self.clock()), problem=found)

    def _born_too_old(self, job: ClaimedJob, began_at: datetime, session: Session, floor: timedelta) -> IssueResult:
        """The result of an answer with a session whose link was born too old to be sent. It is not bought again, since
        it did not age and the next would be no better: the account stops, and the row waits for a person."""
        life = timedelta(seconds=round((session.expires_at - began_at).total_seconds()))
        detail = f"{SHORT_LINKS}{show_duration(life)}, and must leave with {show_duration(floor)} or more"
        may_be_earlier = self.provider.may_return_earlier and job.session_id is None
        if may_be_earlier and not self.first_links.was_short():
            until = max(self.provider.reissue_at(session.expires_at), began_at)
            why = "the provider returned a token that may be an earlier one; the next is asked for after its end"
            snooze = Snooze(until, Reason.SESSION_ENDS_FIRST, why)
            return CallResult(job, began_at, snooze, session=session, floor=floor)
        hold, problem = Hold(Reason.SHORT_LIVED, detail), Problem(Kind.SHORT_LIVED, detail)
        return CallResult(job, began_at, hold, problem=problem, session=session, floor=floor)

    async def _reconcile(self, job: ClaimedJob, unknown_call: UnknownCall, may_write: MayWrite) -> IssueResult:
        """Reconcile the call with an unknown outcome, instead of repeating it."""
        began_at = self.clock()
        orphans = None
        if self.wait_for_orphans and not job.ended:
            orphans = OrphanRule(self.provider.lifetime_with(job.parameters))
        listed = self.provider.look_up(job, page=unknown_call.page) is not None
        if not listed and orphans is not None and orphans.is_over(unknown_call, began_at):
            ending = asked_anew(job.attempts, self.policy.rule.retry, began_at)
            return CallResult(job, began_at, ending, found=Unmatched((), ""), needed_no_request=True)
        listing = await self._listing(job, unknown_call.page, may_write)
        found = listing if isinstance(listing, Problem) else compare(listing, unknown_call)
        ending = ending_of_reconciliation(
            found, unknown_call, job.attempts, self.policy.rule.retry, self.clock(), self.jitter(), orphans
        )
        if isinstance(found, Problem):
            return CallResult(job, began_at, ending, problem=found)
        # Of an ended job only what was found is written.
        return CallResult(job, began_at, Done() if job.ended else ending, found=found)

    async def _ask_about(self, job: ClaimedJob, reference: str, may_write: MayWrite) -> IssueResult:
        """Ask what became of a session that is over by our clock, before it is replaced or its job lapses."""
        began_at, retry = self.clock(), self.policy.rule.retry
        listing = await self._listing(job, 1, may_write)
        if isinstance(listing, Listing):
            news = next((entry for entry in listing.entries if entry.reference == reference), None)
            return CallResult(job, began_at, Asked(), news=news)
        ending: Ending = self.ending(job, listing, self.clock())
        tried = job.attempts + 1
        repeats = listing.concerns_account or listing.kind is Kind.TRANSIENT
        if not repeats or (not listing.concerns_account and (tried >= QUESTIONS or retry.given_up(tried))):
            ending = Asked()  # the decision is made without an answer, as where no list is documented
        return CallResult(job, began_at, ending, problem=listing)

    async def _listing(self, request: SessionRequest, page: int, may_write: MayWrite) -> Listing | Problem:
        """A page of the provider's list of the customer's sessions."""
        built = self.provider.look_up(request, page=page)
        if built is None:  # the account had another provider when the call was made
            return Problem(Kind.BAD_INPUT, self.provider.no_look_up)

        answer = await self.http.call(built, timeout=self.timeout, may_write=may_write)
        if isinstance(answer, Broken):
            return Problem(Kind.TRANSIENT, answer.detail, unreachable=not answer.sent)
        found = self.provider.read_look_up(answer, request, now=self.clock())
        if isinstance(found, Problem) and found.kind is Kind.AUTH:
            found = self._unless_replaced(found, built, lambda: self.provider.look_up(request, page=page) or built)
        return found

    def _unless_replaced(self, refused: Problem, built: HttpRequest, build: Callable[[], HttpRequest]) -> Problem:
        """The refusal of a secret; a failure that passes if a new one has replaced it. The row is called again then, in
        a slot and with an attempt of its own."""
        self.provider.reload_credentials()
        # Compare the headers: of many calls refused with the old secret, only one sees the reload change it.
        if build().headers == built.headers:
            return refused
        return replace(refused, kind=Kind.TRANSIENT, unclear=False, detail=f"{refused.detail}; its secret was replaced")

    def ending(self, job: ClaimedJob, problem: Problem, now: datetime) -> Ending:
        if problem.kind is Kind.CONFLICT and self.provider.no_look_up:
            job = replace(job, reconcile_at=None)  # nothing shows when the session that it names ends
        return super().ending(job, problem, now)

    def release(self, opened: Sequence[ClaimedJob]) -> None:
        self.first_links.end(job.id for job in opened)  # first: the database may be away
        super().release(opened)


@dataclass(kw_only=True)
class InviteWork(Work[ClaimedInvitation, InvitationPolicy]):
    """Sends invitations over one channel."""

    step, doing = "invite", "while sending"
    metric = MESSAGES
    sender: Sender
    sender_names: Mapping[str, str]  # by brand
    templates: Writer

    def written(self, results: Sequence[InviteResult]) -> None:
        observe = self.meters.observer(FRESHNESS, self.policy.channel)
        for result in results:
            item = result.row
            if isinstance(result.ending, Done) and item.unknown_call is None:
                observe((item.expires_at - result.began_at) / (item.expires_at - item.issued_at))
        super().written(results)

    async def call(self, item: ClaimedInvitation, now: datetime, may_write: MayWrite, /) -> InviteResult:
        if item.unknown_call is not None:
            may_write(False)
            return await self._reconcile(item, item.unknown_call)
        if not self._may_leave(item, now):  # checked again: it has waited for its slot or for a permit
            return self.skipped(item)
        customer, hours = item.customer, self.policy.contact.hours
        item.sender_name = self.sender_names.get(customer.brand, "")  # the templates refuse a brand that is no more
        item.clock = hours.clock_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
        try:
            message = self.templates.render(item, channel=self.policy.channel, now=now)
        except CannotWrite as error:
            # Nothing was sent, and a person can correct it.
            problem = Problem(Kind.BAD_INPUT, str(error), code="template")
            return CallResult(item, now, Hold(Reason.TEMPLATE, str(error)), problem=problem)
        too_late = False

        def may_leave(waited: bool) -> bool:
            nonlocal too_late
            too_late = waited and not self._may_leave(item, self.clock())
            return not too_late and may_write(waited)

        receipt = await self.sender.send(message, may_leave)
        if too_late:
            return self.skipped(item)
        if isinstance(receipt, Problem):
            receipt = self.second_look.judged(item.id, now, receipt, now=self.clock())
            ending = self.ending(item, receipt, self.clock())
            return CallResult(item, now, ending, problem=receipt, segments=message.segments, template=message.digest)
        self.second_look.succeeded(item.id, now)
        reference, segments = receipt.reference, message.segments
        return CallResult(item, now, Done(), reference=reference, segments=segments, template=message.digest)

    def _may_leave(self, item: ClaimedInvitation, now: datetime) -> bool:
        """Whether its link is fresh, and it is not quiet where it goes."""
        if has_stale_link(item, now):
            return False
        hours, channel = self.policy.contact.hours, self.policy.channel
        quiet = hours.quiet.get(channel)
        return quiet is None or allowed_at(hours.zones(item.customer, (channel,)), quiet, now) <= now

    async def _reconcile(self, item: ClaimedInvitation, unknown_call: UnknownCall) -> InviteResult:
        """Reconcile the hand-over with an unknown outcome, instead of repeating it."""
        began_at, to = self.clock(), address_of(item.customer.person, self.policy.channel)
        found = await self.sender.look_up(to, item.opening.link, since=unknown_call.opened_at, known=unknown_call.known)
        if isinstance(found, Receipt):
            return CallResult(item, began_at, Done(), reference=found.reference)
        retry = self.policy.rule.retry
        ending = ending_of_reconciliation(found, unknown_call, item.attempts, retry, self.clock(), self.jitter())
        if isinstance(found, Problem):
            return CallResult(item, began_at, ending, problem=found)
        return CallResult(item, began_at, ending, found=found)

    def ending(self, item: ClaimedInvitation, problem: Problem, now: datetime) -> Ending:
        ending = super().ending(item, problem, now)
        return not_before_its_wait(ending, problem, before=item.unknown_handovers, now=now)
