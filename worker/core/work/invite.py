"""Sends a customer the link of its session, or reconciles a text whose receipt was lost.

A kind of work for a dispatcher, as `issue` is. Refused here, when the call's time has come: a link that is not fresh
any more, and a message into quiet hours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.core.adapters import Receipt, Sender
from worker.core.dispatch.state import Work
from worker.core.limits.store.claims import Room
from worker.core.limits.store.flush import CallResult, Flushed
from worker.core.limits.throughput import Stretch
from worker.core.messages.contact import CannotWrite, Writer
from worker.core.messages.store.claim_invitations import has_stale_link, leaves_at
from worker.core.messages.store.message_context import ClaimedInvitation, InvitationPolicy, InviteResult
from worker.core.model.channels import address_of
from worker.core.model.endings import Done, Ending, Hold, Kind, Problem
from worker.core.model.http_messages import MayWrite
from worker.core.model.metrics import FRESHNESS, MESSAGES
from worker.core.model.reasons import Reason
from worker.core.unknown.reconciliation import UnknownCall, ending_of_reconciliation
from worker.core.unknown.repeats import not_before_its_wait


@dataclass(kw_only=True)
class InviteWork(Work[ClaimedInvitation, InvitationPolicy]):
    """Sends invitations over one channel."""

    step, doing = "invite", "while sending"
    metric = MESSAGES
    sender: Sender
    sender_names: Mapping[str, str]  # by brand
    templates: Writer

    def flush(
        self,
        results: Sequence[InviteResult],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[ClaimedInvitation]:
        flushed = super().flush(results, room, stretch, unused)
        if results:
            observe = self.meters.observer(FRESHNESS, self.policy.channel)
            for result in results:
                item = result.row
                if isinstance(result.ending, Done) and item.unknown_call is None:
                    observe((item.expires_at - result.began_at) / (item.expires_at - item.issued_at))
        return flushed

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
        return not has_stale_link(item, now) and leaves_at(self.policy, item, now) <= now

    async def _reconcile(self, item: ClaimedInvitation, unknown_call: UnknownCall) -> InviteResult:
        """Reconcile the hand-over with an unknown outcome, instead of repeating it."""
        began_at = self.clock()
        person = item.customer.person
        to = address_of(person, self.policy.channel)
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
