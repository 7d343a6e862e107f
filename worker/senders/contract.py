"""What every sender promises: it hands one rendered message to one channel."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from worker.endings import Problem


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

    async def close(self) -> None:
        """Close kept connections."""
