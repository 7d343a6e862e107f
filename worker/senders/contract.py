"""The contract of every sender: it hands one rendered message to one channel; what it reports about the message after
its hand-over, whatever its service's form; and what senders share: a server's message, masked so that it can be shown,
stored and logged.

Of a report here are the words alone; what follows from it is decided where reports are applied
(`web.webhooks.store.delivery_reports`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from onboarding_worker.adapters.settings import Secret as Token
from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.core.model.stops import About
from onboarding_worker.core.rules.contracts import Http, Message, Receipt, Sender
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.senders.facts import TEXT_SERVICES, TextFacts

# Our own Message-ID, as services and programs write it. The group is its left part: the message's key.
MESSAGE_ID = re.compile(r"<?([A-Za-z0-9][A-Za-z0-9._-]{0,199})(?:@[^\s<>@]{1,255})?>?", re.ASCII)
# What a sender returns for a message that `may_write` has kept back.
TOO_LATE = Problem(Kind.TRANSIENT, "too late to be handed over when there was a connection")


def message_key(given: object) -> str:
    """The key in our own Message-ID, as a report repeats it; "" for all else."""
    match = MESSAGE_ID.fullmatch(given.strip()[:500]) if isinstance(given, str) else None
    return match[1] if match else ""


def event_name(given: object) -> str:
    """A service's own name of an event, for people; "event" for what is none. It reaches terminals, and no database
    takes a NUL."""
    return given[:32] if isinstance(given, str) and given.isascii() and given.isprintable() else "event"


class DeliveryStatus(StrEnum):
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it did not arrive, and another attempt would not arrive either
    BLOCKED = "blocked"  # it was filtered, or no reason is given: the same text would be blocked again
    ELSEWHERE = "elsewhere"  # the number is not on this channel; another channel may reach it
    LATER = "later"  # it did not arrive, and another attempt may


class Stop(StrEnum):
    """Why an address must get no more messages."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    STOPPED = "stopped"  # the person asked for it


@dataclass(frozen=True, repr=False)
class DeliveryUpdate:
    """The content of one callback. `reference` is the sender's id of the message (Twilio's sid, an invitation's key).
    `address` is the recipient, where the callback names it: personal, so no repr shows it. `status` None does not
    change the message. `stop`: the address must get no more messages; `resume`: it may get messages again. `code` is
    the provider's own, of digits or letters, and `words` our own for it. `about`: whom it is about that the message did
    not arrive; None: that it did, or what the status says. `happened_at` is aware UTC, None where the callback has no
    time."""

    event: str
    reference: str = ""
    address: str = ""
    status: DeliveryStatus | None = None
    stop: Stop | None = None
    resume: bool = False
    code: str = ""
    happened_at: datetime | None = None
    about: About | None = None
    words: str = ""

    @property
    def is_apart(self) -> bool:
        """Whether the message did not arrive, and neither its customer nor its address is why."""
        return self.about in (About.US, About.UNKNOWN)

    @property
    def why(self) -> str:
        """Its code, and what the code means, for the person who is called."""
        if self.about is About.UNKNOWN:
            return f"{self.code or 'no code'}, which our tables do not have"
        return ": ".join(filter(None, (self.code, self.words)))

    def __repr__(self) -> str:
        return f"DeliveryUpdate({self.event}, status={self.status}, stop={self.stop}, code={self.code!r})"


class Said(NamedTuple):
    """What a report of a service says, in a line of its table: the fields of a `DeliveryUpdate`. A line about us, or of
    no known meaning, never has a `stop`."""

    status: DeliveryStatus | None = None
    stop: Stop | None = None
    about: About | None = None
    code: str = ""
    words: str = ""


NOTHING_FOLLOWS = Said()
ARRIVED = Said(DeliveryStatus.DELIVERED)
COMPLAINED, ASKED_FOR_NO_MORE = Said(stop=Stop.COMPLAINED), Said(stop=Stop.STOPPED)
NOT_YET = Said(DeliveryStatus.LATER, about=About.WAY)
# Of the customer or of the message: the service's own list, or a filter of the recipient's.
NOT_TAKEN = Said(DeliveryStatus.BLOCKED, about=About.CUSTOMER)
# The service says nothing that we know the meaning of.
NOT_KNOWN = Said(DeliveryStatus.BLOCKED, about=About.UNKNOWN)


def ours(words: str, code: str = "") -> Said:
    return Said(DeliveryStatus.BLOCKED, about=About.US, code=code, words=words)


@dataclass(frozen=True)
class NotUnderstood:
    """A genuine callback of the sender that cannot be read. `reason` names no value. `malformed`: it is not in the form
    that our page describes, and its sender should learn so."""

    reason: str
    malformed: bool = False


# Types of other modules that a sender uses too: this module is all that it needs.
__all__ = ["Broken", "HttpAnswer", "HttpRequest", "MayWrite", "Message", "Receipt", "Sender", "TextFacts", "Token"]

MASK = "[…]"
DETAIL_LENGTH = 160
# The rest of a longer message is dropped: the patterns below must not run over a megabyte.
LONGEST_READ = 640
# Texts that can identify the customer or hold the link: addresses, anything in angle brackets, links, long numbers.
PERSONAL = re.compile(r"<[^<>]*>|(?<!\S)\S*@\S*|\b\w+://\S*|\bwww\.\S*|\+?\d[\d -]{6,}\d", re.IGNORECASE)


@dataclass(frozen=True)
class Returning:
    """How a report of a mail finds its way back: the address that it comes back to, "" for `from`; and head lines."""

    address: str = ""
    headers: tuple[str, ...] = ()


class NoLookUp:
    """For a channel that has no list of its messages. `no_look_up` is the reason, as text."""

    no_look_up = "the sender has no list of the messages that it accepted"

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)


class Caller(Http, Protocol):
    """Makes the calls over kept connections: `onboarding_worker.http.client`."""

    async def close(self) -> None: ...


class TextSettings(Protocol):
    """The channel's section, as far as a sender needs it. `from_` is a number, or the service's own form. `key`: who
    logs in with the token, if it is not the account."""

    @property
    def base_url(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def token(self) -> Token: ...
    @property
    def from_(self) -> str: ...
    @property
    def timeout(self) -> timedelta: ...


@dataclass(frozen=True)
class TextTools:
    """What a sender to phones is given. `http` belongs to the sender and is closed with it. `callback` is the address
    for delivery reports, "" for none. `repeat_unknown`: a message with an unknown outcome may go twice. `login_from`
    says where the log-in comes from, for people. `channel` is the one to send by."""

    http: Caller
    now: Callable[[], datetime]
    callback: str = ""
    repeat_unknown: bool = False
    login_from: str = ""
    channel: str = "sms"


@dataclass(frozen=True)
class TextCallbacks:
    """How a service's delivery reports are read. No function raises on bytes that were sent. `unsigned` gets the
    headers (lower-case names) before the body is read, and `refusal` all: why it is not the service's, or "". Its `url`
    is the address that the service was given, its `keys` those that it may sign with. `signed_part` is what the
    signature covers: a second delivery of it is the same report. `largest` is in bytes."""

    unsigned: Callable[[Mapping[str, str]], str]
    refusal: Callable[[Mapping[str, str], bytes, str, Iterable[str]], str]
    signed_part: Callable[[bytes], bytes]
    read: Callable[[bytes], DeliveryUpdate | NotUnderstood]
    largest: int = 64 * 1024


@dataclass(frozen=True)
class TextService:
    """All that the worker must know of one service for messages to phones. Its name, `provider` in the section of each
    channel that it serves, is that of its entry point. `callbacks` None: it reports no deliveries."""

    facts: TextFacts
    sender: Callable[[TextSettings, TextTools], Sender]
    callbacks: TextCallbacks | None = None


def text_service(name: str) -> TextService:
    """The service of this name, which the configuration has checked. Raises AdapterBroken."""
    found: TextService | None = TEXT_SERVICES.load(name)
    if found is None:
        raise ValueError(f"{name} is no service for messages")
    return found


def mask(text: str, personal: tuple[str, ...] = ()) -> str:
    """The text on one line, shortened, without addresses, links, long numbers and the `personal` values."""
    text = plain(text[:LONGEST_READ], most=LONGEST_READ)
    text = PERSONAL.sub(MASK, text)
    for value in personal:
        # "User maria.lopez unknown", "Lopez's mailbox is full": servers also quote parts of the address.
        words = {value, value.partition("@")[0], *re.split(r"[\W_]+", value.partition("@")[0])}
        for word in sorted((word for word in words if len(word) > 1), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", MASK, text, flags=re.IGNORECASE)
    return text if len(text) <= DETAIL_LENGTH else text[: DETAIL_LENGTH - 1] + "…"
