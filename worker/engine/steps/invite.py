"""Sends a customer the link of its session, or reconciles a text whose receipt was lost.

A kind of work for a dispatcher, as `issue` is.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.domain.invitations import Invitation, TemplateProblem, Templates
from worker.domain.limits.measured_pace import Stretch
from worker.domain.limits.rate_limits import spacing
from worker.domain.model.endings import Done, Ending, Hold, Kind, Problem
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import UnknownCall, ending_of_reconciliation
from worker.domain.model.sessions import is_stale
from worker.domain.verification.reissue import replace_at
from worker.engine.dispatch.contract import ClaimedRows, Room
from worker.engine.steps.step_endings import (
    FLUSH_MARGIN,
    Transaction,
    ending_of,
    log_chunk,
    nothing_kept,
    unknown_claim_of,
)
from worker.foundation.clock import Clock
from worker.providers.contract import Provider
from worker.senders.contract import Message, Receipt, Sender
from worker.store.messages.claim_invitations import Invitations
from worker.store.messages.message_context import ClaimedInvitation, InvitationPolicy
from worker.store.messages.record_results import Handovers, InviteResult, OpenedInvitation


@dataclass(frozen=True)
class InviteWork:
    """Sends invitations over one channel."""

    policy: InvitationPolicy
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
        return f"invite({self.policy.channel})"

    @property
    def permits(self) -> int:
        return self.policy.rule.concurrency

    @property
    def longest_call(self) -> timedelta:
        return self.timeout + FLUSH_MARGIN

    @property
    def has_next_step(self) -> bool:
        return False

    @property
    def spacing(self) -> timedelta:
        return spacing(self.policy.rule.limits)

    def claim(self, room: Room) -> ClaimedRows:
        now = self.clock()
        opened: list[OpenedInvitation] = []  # filled before the transaction ends: after a lost answer they are known

        def open_events(connection: sa.Connection, items: list[ClaimedInvitation]) -> None:
            # A stale link waits for a flush, which sends the row back for a new session.
            fresh = [item for item in items if item.is_event and not _is_stale(item, now)][: room.attempts]
            opened[:] = self._open(fresh, now, connection, granted=True) if fresh else []
            for item in fresh:
                items.remove(item)

        with unknown_claim_of(lambda: [item.invitation for item in opened]):
            claimed = self.invitations.claim(
                self.policy,
                most=room.rows,
                events=room.events,
                now=now,
                busy=room.busy,
                lead=room.lead,
                on_claim=open_events,
            )
        return ClaimedRows(claimed.invitations, claimed.again_at, claimed.permits, opened, claimed.slots)

    def flush(
        self,
        results: Sequence[InviteResult],
        items: Sequence[ClaimedInvitation],
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> list[OpenedInvitation]:
        opened: list[OpenedInvitation] = []
        with self.transaction() as connection:
            now = self.clock()
            if results:
                self.handovers.finish(self.policy, results, now=now, within=connection, stretch=stretch)
            if unused:
                self.invitations.release(self.policy.rule, [], unused, now=now, within=connection)
            if items:
                opened = self._open(items, now, connection)
        if results:
            log_chunk(self.name, [(r.opened.invitation.job_id, r.ending, r.problem, now - r.began_at) for r in results])
        return opened

    def _open(
        self, items: Sequence[ClaimedInvitation], now: datetime, connection: sa.Connection, *, granted: bool = False
    ) -> list[OpenedInvitation]:
        """Write the attempts. A row whose link has become too old goes back for a new session instead."""
        # A row with an unknown outcome is reconciled first: the message may have been sent while its link was fresh.
        stale = [item for item in items if item.unknown_call is None and _is_stale(item, now)]
        if stale:
            due = [(item, self._reissue_at(item, now)) for item in stale]
            self.invitations.replace(self.policy, due, now=now, within=connection)
        fresh = [item for item in items if item.unknown_call is not None or not _is_stale(item, now)]
        if not fresh:
            return []
        repeatable = self.sender.repeatable()
        opened = self.handovers.open(
            self.policy, fresh, repeatable=repeatable, now=now, within=connection, granted=granted
        )
        may_be_made = {each.invitation.id for each in opened}
        refused = [item for item in fresh if item.id not in may_be_made]
        if refused:
            self.invitations.release(self.policy.rule, refused, now=now, within=connection)
        return opened

    def _reissue_at(self, item: ClaimedInvitation, now: datetime) -> datetime:
        provider = self.providers.get(item.account)  # None: the account was taken out of the configuration
        return replace_at(
            allowed_from=provider.reissue_at(item.expires_at) if provider else item.expires_at,
            issued_at=item.issued_at,
            expires_at=item.expires_at,
            spacing=self.policy.spacing,
            reported_over=item.ended,
            reissues=item.reissues,
            now=now,
        )

    def item(self, opened: OpenedInvitation) -> ClaimedInvitation:
        return opened.invitation

    async def call(self, opened: OpenedInvitation) -> InviteResult:
        item = opened.invitation
        began_at = self.clock()
        if item.unknown_call is not None:
            return await self._reconcile(opened, item.unknown_call)
        if _is_stale(item, began_at):  # checked again: it has waited for its slot or for a permit
            return self.not_made(opened)
        try:
            message = self._message(item, now=began_at)
        except TemplateProblem as error:
            # The operator's template is wrong, not the customer: nothing was sent, and a person can correct it.
            problem = Problem(Kind.BAD_INPUT, str(error), code="template")
            return InviteResult(opened, began_at, Hold(Reason.TEMPLATE, str(error)), problem=problem)
        receipt = await self.sender.send(message)
        if isinstance(receipt, Problem):
            return InviteResult(opened, began_at, self._ending(opened, receipt), problem=receipt)
        return InviteResult(opened, began_at, Done(), reference=receipt.reference)

    async def _reconcile(self, opened: OpenedInvitation, unknown_call: UnknownCall) -> InviteResult:
        """Reconcile the hand-over with an unknown outcome, instead of repeating it."""
        item = opened.invitation
        began_at = self.clock()
        person = item.customer.person
        to = person.email if self.policy.channel == "email" else person.phone
        found = await self.sender.look_up(to, item.link, since=unknown_call.opened_at, known=unknown_call.known)
        if isinstance(found, Receipt):
            return InviteResult(opened, began_at, Done(), reference=found.reference)
        retry = self.policy.rule.retry
        ending = ending_of_reconciliation(found, unknown_call, item.attempts, retry, self.clock(), self.jitter())
        if isinstance(found, Problem):
            return InviteResult(opened, began_at, ending, problem=found)
        return InviteResult(opened, began_at, ending, found=found)

    def _message(self, item: ClaimedInvitation, *, now: datetime) -> Message:
        person = item.customer.person
        channel = self.policy.channel
        customer = item.customer
        clock = self.policy.hours.clock_of(timezone=customer.timezone, phone=person.phone, country=customer.country)
        invitation = Invitation(
            customer, item.link, item.expires_at, self.sender_name, item.wording, clock, item.opening
        )
        text = self.templates.render(invitation, channel=channel, now=now)
        return Message(
            key=item.id.hex,
            to=person.email if channel == "email" else person.phone,
            language=text.language,
            subject=text.subject,
            text=text.text,
            html=text.html,
            valid_for=item.expires_at - now,
        )

    def _ending(self, opened: OpenedInvitation, problem: Problem) -> Ending:
        retry = self.policy.rule.retry
        return ending_of(problem, opened.invitation.attempts, opened, retry, self.clock(), self.jitter())

    def not_made(self, opened: OpenedInvitation) -> InviteResult:
        return InviteResult(opened, self.clock(), None)

    def crashed(self, opened: OpenedInvitation, error: Exception) -> InviteResult:
        problem = Problem(Kind.UNKNOWN, f"the worker failed with {type(error).__name__} while sending")
        unknown_call, now = opened.invitation.unknown_call, self.clock()
        if unknown_call is not None:
            attempts, retry = opened.invitation.attempts, self.policy.rule.retry
            ending = ending_of_reconciliation(problem, unknown_call, attempts, retry, now, self.jitter())
            return InviteResult(opened, now, ending, problem=problem)
        return InviteResult(opened, now, self._ending(opened, problem), problem=problem)

    def kept_nothing(self, result: InviteResult, kind: str) -> InviteResult:
        problem = nothing_kept(result.reference, kind)
        return InviteResult(result.opened, result.began_at, Hold(Reason.CANNOT_KEEP, problem.detail), problem=problem)

    def halts(self, result: InviteResult) -> bool:
        return result.problem is not None and result.problem.concerns_account

    def release(self, items: Sequence[ClaimedInvitation], unused: Sequence[datetime] = ()) -> None:
        self.invitations.release(self.policy.rule, items, unused, now=self.clock())

    def hold(self, items: Sequence[ClaimedInvitation], kind: str) -> None:
        self.invitations.hold(self.policy.rule, items, kind, now=self.clock())

    def release_permits(self) -> None:
        self.invitations.release_permits(self.policy)


def _is_stale(item: ClaimedInvitation, now: datetime) -> bool:
    return item.ended or is_stale(item.expires_at, floor=item.floor, now=now)
