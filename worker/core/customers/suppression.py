"""The do-not-contact list: the form in which addresses are compared, and the reasons. Pure.

The list stores a keyed hash of `text_of`. Two spellings of one person's address must have the same hash; two persons'
addresses must not.
"""

import re
from enum import StrEnum

from worker.core.model.channels import CHANNELS, folded_email, listed_as

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


class SuppressionReason(StrEnum):
    """Why an address is suppressed, in ascending order of strength: see `stronger`."""

    BOUNCE = "bounce"  # the receiving side refuses messages to this address permanently
    MANUAL = "manual"  # `onboard suppress`
    STOP = "stop"  # the customer asked for it, in a reply to a text
    COMPLAINT = "complaint"  # the customer reported a message as unwanted


_DETAILS = {
    SuppressionReason.BOUNCE: "messages to this address bounced permanently",
    SuppressionReason.MANUAL: "an operator put the address on the list",
    SuppressionReason.STOP: "the customer asked for no more messages",
    SuppressionReason.COMPLAINT: "the customer complained about a message",
}
_RANK = {reason: rank for rank, reason in enumerate(SuppressionReason)}


def detail_of(reason: SuppressionReason) -> str:
    """The sentence for a reason, also for one that a newer release has stored."""
    return _DETAILS.get(reason, "the address is on the do-not-contact list")


def text_of(channel: str, address: str) -> str:
    """The text that is hashed for an address from `lists.contacts`. The channel is part of it, so that an address is
    suppressed on one channel only; texts and WhatsApp are one here. Raises ValueError, without the address in
    its text, on an invalid address.

    Upper and lower case in an email's local part count as equal: a mail server may distinguish `Ann@` and `ann@`, but
    hardly any does, and a missing message harms less than a message to a person who complained. Dots and `+tags`
    count, because they may be another person's address.
    """
    match listed_as(channel):
        case "email":
            return f"suppressed email {folded_email(address)}"
        case "sms":
            if not _E164.fullmatch(address):
                raise ValueError("expected a number such as +37060000000")
            return f"suppressed sms {address}"
        case _:
            raise ValueError(f"expected one of the channels {', '.join(CHANNELS)}")


def stronger(one: SuppressionReason, other: SuppressionReason) -> SuppressionReason:
    """The stronger of two reasons for one address: the customer's own wish outranks everything else.

    A reason that only a newer release has may be such a wish.
    """
    return max(one, other, key=lambda reason: _RANK.get(reason, len(_RANK)))
