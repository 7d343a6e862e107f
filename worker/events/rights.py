"""Decides what an event may do to its customer, by the customer's owner and the sender's rights. Pure.

The owner is the sender whose request made the customer known; a list's customers have none (""). A sender that does not
reach a customer gets the answers that it would get about a customer who does not exist, and its event changes nothing.
Only a request cannot be answered so: it would have to open a session. It is refused. Whether a list may have a sender's
customer: `lists.known_customers.refuses_lists`.
"""

import re
from dataclasses import dataclass

from worker.core.model.incoming import EventSender

NOT_ITS_TYPE = "this sender may not send events of this type"
NOT_ITS_CUSTOMER = "this sender may not request this customer"
NOT_ITS_ID = "this sender may not name customers with such ids"
ANY = "*"  # in a pattern of ids: any characters, or none


@dataclass(frozen=True)
class SenderStanding:
    """What an event may do. `reaches`: it may change the customer. `heeds`: the sender whose earlier events count with
    it; `heeds_all`: those of senders that reach every customer count too."""

    reaches: bool
    heeds: str
    heeds_all: bool

    def counts(self, sender: str, *, every_customer: bool) -> bool:
        """True if an earlier event of this sender counts."""
        return sender == self.heeds or (self.heeds_all and every_customer)


NO_STANDING = SenderStanding(reaches=False, heeds="", heeds_all=False)


def may_name(sender: EventSender, customer_id: str) -> bool:
    """Whether an event of this sender may be about this id, known or not: so its answer tells nothing of a customer."""
    return not sender.ids or any(_fits(pattern, customer_id) for pattern in sender.ids)


def _fits(pattern: str, text: str) -> bool:
    first, *others = (re.escape(part) for part in pattern.split(ANY))
    if not others:
        return text == pattern
    *middle, last = others
    # Each as early as it can be, and never tried again: the more is left for the next.
    early = "".join(f"(?>.*?{part})" for part in middle)
    return re.fullmatch(f"{first}{early}.*{last}", text, re.DOTALL) is not None


def standing_of(sender: EventSender, owner: str | None) -> SenderStanding:
    """`owner` of the event's customer, by now its sender if it is a request; None: no customer of this id is known."""
    if owner is None:
        # There is nothing to change yet: the event is kept for the request that it overtook. Its answer must not depend
        # on what other senders have sent.
        return SenderStanding(True, sender.name, heeds_all=sender.every_customer)
    if sender.every_customer or owner == sender.name:
        return SenderStanding(True, owner, heeds_all=True)
    return SenderStanding(False, sender.name, heeds_all=False)
