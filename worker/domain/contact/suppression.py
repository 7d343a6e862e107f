"""Addresses that must not be written to: in which form they are known again, and why they are there. Pure.

What is kept of one is a keyed hash of `text_of`. An address that is written in another way, and reaches the same
person, must hash alike; one of somebody else must not.
"""

import re
import unicodedata
from enum import StrEnum

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


class SuppressionReason(StrEnum):
    """Why an address is suppressed. The later ones outrank those before them: see `stronger`."""

    BOUNCE = "bounce"  # the other side said for good that it takes nothing for this address
    MANUAL = "manual"  # `onboard suppress`
    STOP = "stop"  # the customer asked for it, by a reply to a text
    COMPLAINT = "complaint"  # the customer called a message unwanted


DETAILS = {
    SuppressionReason.BOUNCE: "messages to this address were returned for good",
    SuppressionReason.MANUAL: "somebody here put the address on the list",
    SuppressionReason.STOP: "the customer asked not to be written to",
    SuppressionReason.COMPLAINT: "the customer complained about a message",
}
_RANK = {reason: rank for rank, reason in enumerate(SuppressionReason)}


def text_of(channel: str, address: str) -> str:
    """What is hashed of an address, as `intake.contacts` gives it: the channel is part of it, so that one suppressed as
    a phone is none as anything else. Raises ValueError, without the address in it, on what cannot be one.

    An email's local part counts without regard to case: to tell `Ann@` from `ann@` is allowed, but who does it is rare,
    and one message too few harms less than one to somebody who complained. Dots and `+tags` count, for they may be
    somebody else's.
    """
    match channel:
        case "email":
            return f"suppressed email {_email(address)}"
        case "sms":
            if not _E164.fullmatch(address):
                raise ValueError("expected a number as +37060000000")
            return f"suppressed sms {address}"
        case _:
            raise ValueError("expected the channel email or sms")


def stronger(one: SuppressionReason, other: SuppressionReason) -> SuppressionReason:
    """Which of two reasons is kept for one address: what the customer said outranks what we found out."""
    return max(one, other, key=_RANK.__getitem__)


def _email(address: str) -> str:
    local, at, domain = address.strip().rpartition("@")
    if not (local and at and domain):
        raise ValueError("expected an address such as name@example.com")
    # Composed and decomposed letters look the same, and a mailbox is not told by them.
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())
    return f"{folded}@{domain.lower().rstrip('.')}"
