"""The contract of every sender: it hands one rendered message to one channel."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from worker.domain.model.endings import Kind, Problem
from worker.domain.model.reconciliation import Nothing, Unmatched


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
class Receipt:
    """The server accepted the message. `reference`: the server's id of the message (Twilio's sid), if it gave one."""

    reference: str = ""


class Sender(Protocol):
    """One channel. Holds its connections; `close` ends them."""

    def repeatable(self) -> bool:
        """True if a message with an unknown outcome may be sent again (email: under the same Message-ID)."""

    async def preflight(self) -> Problem | None:
        """Log in and hand nothing over, within the sender's own time-out. Costs nothing.

        Returns the Problem that each message would have: refused credentials, or a server that cannot be reached. None:
        the sender answers, or its answer says nothing about messages.
        """

    async def send(self, message: Message) -> Receipt | Problem:
        """Hand the message over within the sender's own time-out. A refusal gives a Problem, never an exception."""

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
