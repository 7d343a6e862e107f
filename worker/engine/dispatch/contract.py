"""What a dispatcher works on: the interface that `dispatcher` uses and `engine.steps` implements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from worker.domain.limits.measured_pace import Stretch


@dataclass(frozen=True)
class Room:
    """How much the next claim may bring: so many rows, and up to `events` rows if the rest are events.

    `busy` calls are in flight. Of the events at most `attempts` may be opened, in the transaction that claims them.
    `lead`: how long a row needs from its claim to its call; no slot is reserved earlier. Zero while the database is
    quick.
    """

    rows: int
    events: int
    busy: int
    attempts: int = 0
    lead: timedelta = timedelta(0)


@dataclass(frozen=True)
class ClaimedRows:
    """Rows under this worker's lease: `items` are not opened yet, `opened` have their attempts written.

    `slots`: a reserved time for each of these calls, whichever row goes first; none if calls may be made at once.
    `again_at`: when to claim again; None: nothing more is due. `permits`: how many calls may be in flight from now on;
    None: as many as before.
    """

    items: Sequence[Any]
    again_at: datetime | None = None
    permits: int | None = None
    opened: Sequence[Any] = ()
    slots: Sequence[datetime] = ()


class UnknownClaim(Exception):
    """A claim that wrote attempts has an unknown outcome: these rows may be under this worker's lease, or not."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__("the outcome of a claim is unknown: the database's answer was lost")
        self.items = items


class Item(Protocol):
    @property
    def lease_until(self) -> datetime: ...
    @property
    def is_event(self) -> bool:
        """Whether the row is an event's: it goes before batch rows."""


ItemT = TypeVar("ItemT", bound=Item)  # a claimed row
OpenedT = TypeVar("OpenedT")  # a row whose attempt is written down
ResultT = TypeVar("ResultT")  # the result of its call


class Work(Protocol[ItemT, OpenedT, ResultT]):
    """What a dispatcher works on.

    `claim`, `flush`, `release`, `hold` and `release_permits` are blocking database calls, made in threads. They read
    the time themselves, where their transaction begins: the process may stand still on its way from the loop to there.
    """

    name: str
    permits: int  # calls in flight, until the first claim says how many
    longest_call: timedelta  # from the last check of the lease until the result is written
    has_next_step: bool  # whether written results make other rows due
    spacing: timedelta  # the least time between two calls; zero where the account has no limit

    def claim(self, room: Room) -> ClaimedRows:
        """Claim due rows. Raises UnknownClaim if rows may have been claimed and opened: `release` returns them."""

    def flush(
        self,
        results: Sequence[ResultT],
        items: Sequence[ItemT],
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> list[OpenedT]:
        """Write these results, and then open these items, in one transaction. Returns the opened rows.

        Items that are not returned were released or settled. One transaction, so that no call is made while results
        cannot be written. `stretch`: a busy stretch of calls that has ended, for the measured pace. `unused`: slots in
        which no call is made.
        """

    async def call(self, opened: OpenedT) -> ResultT: ...
    def item(self, opened: OpenedT) -> ItemT: ...
    def not_made(self, opened: OpenedT) -> ResultT:
        """The result of an opened row whose call was not made."""

    def crashed(self, opened: OpenedT, error: Exception) -> ResultT:
        """The result of a call that raised: a bug, so the outcome of the call is unknown."""

    def kept_nothing(self, result: ResultT, kind: str) -> ResultT:
        """What is written instead of a result that cannot be written: its row is held. `kind` names the exception."""

    def halts(self, result: ResultT) -> bool:
        """Whether the account must not be called again before this result is written."""

    def release(self, items: Sequence[ItemT], unused: Sequence[datetime] = ()) -> None:
        """Release rows for which no call was made, whether or not their attempts were written, and unused slots."""

    def hold(self, items: Sequence[ItemT], kind: str) -> None:
        """Hold claimed rows that cannot be opened. `kind` names the exception."""

    def release_permits(self) -> None:
        """Release all permits of this dispatcher: it has ended."""
