"""What the outside saw of one history, and the lines of it that a person reads.

The rules read nothing but this. Seconds are the world's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.simulation.witness import Forecast, Look


class Kind(StrEnum):
    SESSION = "session"  # a call that opens a session
    ADOPTED = "adopted session"  # no call of a worker: another tool opened it, before the history begins
    LOOK_UP = "look-up"
    TEXT = "text"
    MAIL = "mail"
    OTHER = "other"


@dataclass(eq=False)
class Call:
    """One call of a worker. Times are None where it did not come so far."""

    kind: Kind
    account: str
    customer: str
    process: int  # the worker process that made it
    sent_at: float
    arrived_at: float | None = None
    answered_at: float | None = None
    broke_at: float | None = None  # its connection was lost, and the process saw that
    status: int = 0  # of the answer; 0: none
    retry_after: int | None = None  # seconds that the answer asks to wait
    processed: bool = False  # the provider carried it out
    token: str = ""  # of the session, or in the message's link
    link: str = ""  # the secret part of our own link, in a message
    key: str = ""  # of a message: its Message-ID, which each repeat has
    expires_at: float = 0.0
    ended_at: float | None = None  # when the customer finished the session
    to: str = ""
    spoilt: bool = False  # the answer cannot be stored
    refused: bool = False  # there was no connection

    @property
    def is_lost(self) -> bool:
        return self.answered_at is None and not self.refused


@dataclass
class Life:
    """One worker process: from when to when it lived, and when it stood still."""

    number: int
    host: int
    began_at: float
    ended_at: float | None = None
    still: list[tuple[float, float]] = field(default_factory=list)
    paused: list[tuple[float, float]] = field(default_factory=list)  # the same, where its clocks stood still too
    opened: list[float] = field(default_factory=list)  # when it committed attempts
    broken: list[float] = field(default_factory=list)  # when its connection to the database broke at a commit


@dataclass(frozen=True)
class Happened:
    """Something that is no call: a request, a decision, a fault, a webhook."""

    at: float
    what: str
    customer: str = ""
    detail: str = ""


@dataclass
class Record:
    calls: list[Call] = field(default_factory=list)
    lives: dict[int, Life] = field(default_factory=dict)
    happened: list[Happened] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)  # of the database
    complaints: list[str] = field(default_factory=list)  # of what must not arrive at all
    wrong_rows: list[str] = field(default_factory=list)  # that broke a rule when somebody looked first
    struck_at: float = 0.0  # when the last fault struck that had waited for its point
    looks: list["Look"] = field(default_factory=list)  # of the witness
    forecasts: list["Forecast"] = field(default_factory=list)  # … of lists

    def note(self, at: float, what: str, customer: str = "", detail: str = "") -> None:
        self.happened.append(Happened(at, what, customer, detail))

    def of(self, *kinds: Kind) -> list[Call]:
        return [call for call in self.calls if call.kind in kinds]

    @property
    def interrupted(self) -> bool:
        """Whether a process ended or stood still."""
        return any(life.ended_at is not None or life.still for life in self.lives.values())

    def first(self, what: str, customer: str) -> float | None:
        """When this first happened to the customer."""
        return next((one.at for one in self.happened if one.what == what and one.customer == customer), None)

    def lines(self, customer: str = "") -> Iterator[str]:
        """The history, line by line; of one customer, and what concerns all of them."""
        found = [
            (one.at, f"{one.what} {one.customer} {one.detail}".rstrip())
            for one in self.happened
            if customer in ("", one.customer) or not one.customer
        ]
        for call in self.calls:
            if customer in ("", call.customer):
                found.append((call.sent_at, _told(call)))
        for at, text in sorted(found, key=lambda one: one[0]):
            yield f"{at:10.3f}  {text}"


def _told(call: Call) -> str:
    parts = [f"{call.kind} of process {call.process} to {call.account} for {call.customer}"]
    if call.refused:
        parts.append("no connection")
    if call.arrived_at is not None:
        parts.append(f"arrived {call.arrived_at:.3f}" + (", carried out" if call.processed else ""))
    if call.token:
        parts.append(f"session …{call.token[-6:]}" + (f" until {call.expires_at:.0f}" if call.expires_at else ""))
    if call.link:
        parts.append(f"link …{call.link[-6:]}")
    if call.key:
        parts.append(f"key …{call.key[-6:]}")
    if not call.refused:
        answer = f"answered {call.status} at {call.answered_at:.3f}" if call.answered_at is not None else "no answer"
        parts.append(answer + (" that cannot be stored" if call.spoilt else ""))
    return "; ".join(parts)
