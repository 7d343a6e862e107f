"""Texts that left, or may have: none leaves again, unless a person or the sender says that it did not arrive."""

from collections.abc import Collection, Iterator
from uuid import UUID

from worker.domain.contact.delivery_reports import DeliveryStatus, DeliveryUpdate
from worker.domain.model.endings import Done, Hold, Reconcile
from worker.domain.model.reconciliation import Nothing
from worker.store.messages.handovers import InviteResult
from worker.store.messages.message_context import ClaimedInvitation

RETURNED = (DeliveryStatus.BOUNCED, DeliveryStatus.BLOCKED, DeliveryStatus.ELSEWHERE)


class Texts:
    def __init__(self) -> None:
        self._left: set[UUID] = set()

    def leaves(self, channel: str, item: ClaimedInvitation) -> Iterator[str]:
        """This message leaves now. A complaint if it has left before."""
        if channel == "sms":
            if item.id in self._left:
                yield f"{item.customer.customer_id}: a text leaves again ({item.kind})"
            self._left.add(item.id)

    def ended(self, result: InviteResult) -> None:
        """What became of it: not handed over, refused or not found leave no doubt."""
        found_nothing = isinstance(result.found, Nothing)
        if found_nothing or not isinstance(result.ending, Done | Hold | Reconcile):
            self._left.discard(result.opened.invitation.id)

    def reported(self, message_id: UUID, update: DeliveryUpdate) -> None:
        if update.status in RETURNED:
            self._left.discard(message_id)

    def repeated(self, messages: Collection[UUID]) -> None:
        """A person answers for a second one."""
        self._left.difference_update(messages)
