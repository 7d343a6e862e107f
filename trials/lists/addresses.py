"""Addresses that have a session's link, or may have: it goes to no other one of the same kind."""

from collections.abc import Iterator
from uuid import UUID

from trials.lists.texts import RETURNED
from worker.domain.contact.delivery_reports import DeliveryUpdate
from worker.domain.model.channels import CHANNELS, address_of
from worker.domain.model.endings import Done, Hold, Reconcile
from worker.domain.model.reconciliation import Nothing
from worker.store.messages.handovers import InviteResult
from worker.store.messages.message_context import ClaimedInvitation

Kind = tuple[UUID, str]  # of a session: a kind of address


class Addresses:
    def __init__(self) -> None:
        self._had: dict[UUID, tuple[Kind, str]] = {}

    def leaves(self, channel: str, item: ClaimedInvitation, *, same_link: bool) -> Iterator[str]:
        """This message leaves now. A complaint if another address has its link."""
        kind = item.session_id, CHANNELS[channel].address
        address = address_of(item.customer.person, channel).lower()
        others = {had for of, had in self._had.values() if of == kind} - {address}
        if others and not same_link:
            yield f"{item.customer.customer_id}: a link that another address has leaves ({item.kind})"
        self._had[item.id] = kind, address

    def ended(self, result: InviteResult) -> None:
        """What became of it: not handed over, refused or not found leave no doubt."""
        found_nothing = isinstance(result.found, Nothing)
        if found_nothing or not isinstance(result.ending, Done | Hold | Reconcile):
            self._had.pop(result.opened.invitation.id, None)

    def reported(self, message_id: UUID, update: DeliveryUpdate) -> None:
        if update.status in RETURNED:
            self._had.pop(message_id, None)
