"""The contract of every sender: it hands one rendered message to one channel."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from worker.core.messages.delivery_reports import DeliveryUpdate, NotUnderstood
from worker.core.model.endings import Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from worker.core.unknown.reconciliation import Nothing, Unmatched
from worker.providers.text_services import TextFacts

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


@dataclass(frozen=True, repr=False)
class Message:
    """One rendered invitation. Its fields are personal or secret, so no repr shows them.

    `key` identifies the invitation for ever (the left part of its Message-ID). Every repeat has the same key.
    """

    key: str
    at: datetime  # when its first hand-over was written down, aware: the Date of every repeat, too
    to: str  # an address, or an E.164 number
    language: str  # BCP 47
    subject: str
    text: str
    html: str = ""
    valid_for: timedelta | None = None  # the remaining life of its link, if known

    def __repr__(self) -> str:
        return f"Message(key={self.key!r}, …)"


@dataclass(frozen=True)
class Returning:
    """Where a mail comes back to, and the lines of its head that belong to that."""

    address: str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """The server accepted the message. `reference`: the server's id of the message (Twilio's sid), if it gave one, as
    its delivery reports have it. Of a longer one the first 100 characters are kept and compared."""

    reference: str = ""


# What a sender returns for a message that `may_write` has kept back.
TOO_LATE = Problem(Kind.TRANSIENT, "too late to be handed over when there was a connection")


class Sender(Protocol):
    """One channel. Holds its connections; `close` ends them."""

    def repeatable(self) -> bool:
        """True if a message with an unknown outcome may be sent again (email: under the same Message-ID)."""

    async def preflight(self) -> Problem | None:
        """Log in and hand nothing over, within the sender's own time-out. Costs nothing.

        Returns the Problem that each message would have: refused credentials, or a server that cannot be reached. None:
        the sender answers, or its answer says nothing about messages.
        """

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        """Hand the message over within the sender's own time-out. A refusal gives a Problem, never an exception.

        `may_write` is asked when there is a connection, directly before the message is handed over; again if that
        connection proves dead and another one had to be opened. If it says no, no message is handed over, and whatever
        is returned does not count. None: the message may leave at any time.
        """

    @property
    def no_look_up(self) -> str:
        """Why a message with an unknown outcome cannot be reconciled; "" if it can be."""

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        """Look for the message with this link among those accepted since `since`, within the sender's own time-out.

        `known` are the references of messages to the same customer that have their receipts. Unmatched are messages
        that may or may not be the one with this link.
        """

    async def close(self) -> None:
        """Close kept connections."""


class NoLookUp:
    """For a channel that has no list of its messages. `no_look_up` is the reason, as text."""

    no_look_up = "the sender has no list of the messages that it accepted"

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)


class Token(Protocol):
    """A secret that no repr shows. It can be read again from its file."""

    def reveal(self) -> str: ...
    def reload(self) -> bool: ...


class Caller(Protocol):
    """Makes the calls over kept connections: `worker.http.client`."""

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken: ...
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
