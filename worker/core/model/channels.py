"""The channels that messages go by, all that differs between them outside of their senders, and the form in which
their addresses are compared. Pure.

The do-not-contact list stores a keyed hash of `text_of`. Two spellings of one person's address must have the same hash;
two persons' addresses must not.
"""

import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

from onboarding_worker.core.model.customers import Channel, Person

Address = Literal["email", "phone"]
ADDRESSES: tuple[Address, ...] = ("email", "phone")
ChannelName = Literal["email", "sms", "whatsapp"]  # those of CHANNELS
LONGEST_EMAIL = 320  # characters (RFC 3696); it is checked before the address is normalised
_FOLDED = re.compile(r"[!-?\[-~]+@[a-z0-9.-]*[a-z0-9]")  # most addresses
_END = re.compile(r"[.\s]+\Z")  # a domain may end with its root's dot


class ChannelFacts(NamedTuple):
    """What the rooms must know of a channel.

    `address` is the field of a `Person` that it writes to. `listed_as` is the channel under which its addresses are on
    the do-not-contact list and are counted: who asks for no more texts gets no WhatsApp message either. `falls_to` is
    the channel that a customer is written to on when a message by this one did not arrive, whatever the configuration's
    own fallback is; "": none. `called` and `counted` are one of its messages in words.
    """

    address: Address
    listed_as: str
    called: str
    counted: str
    falls_to: str = ""


CHANNELS: Mapping[str, ChannelFacts] = {
    Channel.EMAIL.value: ChannelFacts("email", Channel.EMAIL.value, "email", "mail"),
    Channel.SMS.value: ChannelFacts("phone", Channel.SMS.value, "text message", "text"),
    Channel.WHATSAPP.value: ChannelFacts(
        "phone", Channel.SMS.value, "WhatsApp message", "WhatsApp message", falls_to=Channel.SMS.value
    ),
}
CALLED: Mapping[str, str] = {name: facts.called for name, facts in CHANNELS.items()}


def address_of(person: Person, channel: str) -> str:
    """The person's address on the channel; empty where it is not known. Personal."""
    return person.email if is_mail(channel) else person.phone


def is_mail(channel: str) -> bool:
    """Whether its messages go to an email address, and not to a phone."""
    return CHANNELS[channel].address == "email"


def listed_as(channel: str) -> str:
    """The channel under which its addresses are suppressed and counted; the name itself where it is not a channel."""
    facts = CHANNELS.get(channel)
    return facts.listed_as if facts is not None else channel


def channels_of(address: Address) -> tuple[str, ...]:
    """The channels that write to this kind of address."""
    return tuple(name for name, facts in CHANNELS.items() if facts.address == address)


def folded_email(address: str) -> str:
    """The one form of an email address, by which two spellings are compared. Raises ValueError, without
    the address in its text, on an invalid one.

    Upper and lower case count as equal; dots and `+tags` may be another person's address."""
    if len(address) > LONGEST_EMAIL:
        raise ValueError(f"expected an address of at most {LONGEST_EMAIL} characters")
    if _FOLDED.fullmatch(address):
        return address
    local, at, domain = address.strip().rpartition("@")
    domain = _END.sub("", domain)
    if not (local and at and domain):
        raise ValueError("expected an address such as name@example.com")
    # Composed and decomposed letters look the same, and no two mailboxes differ only by them.
    if local.isascii():
        return f"{local.lower()}@{domain.lower()}"
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())
    return f"{folded}@{domain.lower()}"


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
    """The text that is hashed for an address. The channel is part of it, so that an address is
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
