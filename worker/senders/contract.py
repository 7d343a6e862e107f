"""The contract of every sender: it hands one rendered message to one channel; and what senders share: a server's
message, masked so that it can be shown, stored and logged."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from worker.core.adapters import Http, Message, Receipt, Sender
from worker.core.foundation.notation import plain
from worker.core.model.endings import Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from worker.core.unknown.reconciliation import Nothing, Unmatched
from worker.providers.account import Secret as Token
from worker.providers.facts import TEXT_SERVICES, TextFacts
from worker.senders.delivery_reports import DeliveryUpdate, NotUnderstood

__all__ = [
    "TOO_LATE",
    "Broken",
    "Caller",
    "HttpAnswer",
    "HttpRequest",
    "MayWrite",
    "Message",
    "NoLookUp",
    "Receipt",
    "Returning",
    "Sender",
    "TextCallbacks",
    "TextFacts",
    "TextService",
    "TextSettings",
    "TextTools",
    "Token",
]

MASK = "[…]"
DETAIL_LENGTH = 160
# The rest of a longer message is dropped: the patterns below must not run over a megabyte.
LONGEST_READ = 640
# Texts that can identify the customer or hold the link: addresses, anything in angle brackets, links, long numbers.
PERSONAL = re.compile(r"<[^<>]*>|(?<!\S)\S*@\S*|\b\w+://\S*|\bwww\.\S*|\+?\d[\d -]{6,}\d", re.IGNORECASE)


@dataclass(frozen=True)
class Returning:
    """How a report of a mail finds its way back: the address that the mail comes back to, "" for that of `from`; and
    lines of its head."""

    address: str = ""
    headers: tuple[str, ...] = ()


# What a sender returns for a message that `may_write` has kept back.
TOO_LATE = Problem(Kind.TRANSIENT, "too late to be handed over when there was a connection")


class NoLookUp:
    """For a channel that has no list of its messages. `no_look_up` is the reason, as text."""

    no_look_up = "the sender has no list of the messages that it accepted"

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)


class Caller(Http, Protocol):
    """Makes the calls over kept connections: `worker.http.client`."""

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
    """How a service's delivery reports are read. No function raises on bytes that were sent.

    `unsigned` gets the headers (lower-case names) before the body is read, and `refusal` all: why it is not the
    service's, or "". Its `url` is the address that the service was given, its `keys` those that it may sign with.
    `signed_part` is what the signature covers: a second delivery of it is the same report. `largest` is in bytes.
    """

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
