"""What every sender promises: it hands one rendered message to one channel."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from worker.domain.model.endings import Kind, Problem
from worker.domain.model.reconciliation import Nothing, Unmatched


@dataclass(frozen=True, repr=False)
class Message:
    """One rendered invitation. Everything in it is personal or secret: no repr shows any of it.

    `key` identifies the invitation for ever (its Message-ID's left part): the same on every repeat.
    """

    key: str
    to: str  # an address, or an E.164 number
    language: str  # BCP 47
    subject: str
    text: str
    html: str = ""
    valid_for: timedelta | None = None  # how long it is of use: its link's remaining life, where known

    def __repr__(self) -> str:
        return f"Message(key={self.key!r}, …)"


@dataclass(frozen=True)
class Receipt:
    """The other side took the message. `reference`: its id there, where it gave one (Twilio's sid)."""

    reference: str = ""


class Sender(Protocol):
    """One channel. Holds its connections; `close` ends them."""

    def repeatable(self) -> bool:
        """Whether a hand-over that broke without an answer may be repeated (email: under the same Message-ID)."""

    async def send(self, message: Message) -> Receipt | Problem:
        """Hand the message over within the sender's own time-out. A refusal is a Problem, never an exception."""

    @property
    def no_look_up(self) -> str:
        """Why a hand-over that broke without an answer cannot be looked up; "" where it can be."""

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        """Look for the message with this link that may have been taken since then, within the sender's own time-out.

        `known` are the references of messages to the same customer that have their receipts. Unmatched are those
        of which it cannot be told whether they are it.
        """

    async def close(self) -> None:
        """Close kept connections."""


class NoLookUp:
    """For a channel that keeps no record of what it has taken. `no_look_up` says so in words."""

    no_look_up = "the sender keeps no record of the messages that it has taken"

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)
