"""What a dispatcher works on, in the words that `dispatcher` uses and `engine.steps` fills in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar


@dataclass(frozen=True)
class Room:
    """What a dispatcher has room for: so many rows, of events this many where that is more. `busy` calls are in flight.

    Of the events `attempts` at most may be given with their attempts written down, in the transaction that takes them.
    """

    rows: int
    events: int
    busy: int
    attempts: int = 0


@dataclass(frozen=True)
class ClaimedRows:
    """Rows under our lease. `again_at`: when to ask again; None: nothing more is due.

    `permits` is how many calls may be in flight from now on; None: as many as before. `opened` are those besides
    `items` whose attempts are written down.
    """

    items: Sequence[Any]
    again_at: datetime | None = None
    permits: int | None = None
    opened: Sequence[Any] = ()


class Unsure(Exception):
    """The answer to a claim was lost that wrote attempts down: whether these rows are ours, nobody knows."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__("the answer to a claim was lost")
        self.items = items


class Item(Protocol):
    @property
    def lease_until(self) -> datetime: ...
    @property
    def slot(self) -> datetime | None: ...
    @property
    def is_event(self) -> bool:
        """Whether it goes before those of batches."""


ItemT = TypeVar("ItemT", bound=Item)  # a taken row
OpenedT = TypeVar("OpenedT")  # a row whose attempt is written down
ResultT = TypeVar("ResultT")  # what came of it


class ClaimsInTransaction(Protocol):
    """Takes, in a transaction that is another's, what that makes due. For the thread of the transaction."""

    def begin(self) -> None:
        """Nothing is taken yet: a transaction that crossed with another is made again from its start."""

    def claim(self, connection: Any, now: datetime) -> None:
        """Take what is due by now, within this transaction."""


class Work(Protocol[ItemT, OpenedT, ResultT]):
    """What a dispatcher works on. `claim`, `flush`, `release` and `release_permits` are blocking database calls, made
    in threads."""

    name: str
    permits: int  # calls in flight, until the first taking says how many
    longest_call: timedelta  # from the last look at the lease to the result
    leads_on: bool  # whether something waits for what came of a call to be written
    spacing: timedelta  # the least time between two calls; zero where the account has no limit

    def claim(self, room: Room, now: datetime) -> ClaimedRows:
        """Raises Unsure where rows may have been taken with their attempts: `release` gives back those that were."""

    def flush(
        self,
        results: Sequence[ResultT],
        items: Sequence[ItemT],
        now: datetime,
        shared_claims: Mapping[str, ClaimsInTransaction] | None = None,
    ) -> list[OpenedT]:
        """In one transaction, write results, and then the attempts of these items.

        What is not in the answer was given back or settled. So no call is made while results cannot be written.
        `shared_claims`, by channel, is what takes the messages that follow from the results; only where the work leads
        on.
        """

    async def call(self, opened: OpenedT) -> ResultT: ...
    def item(self, opened: OpenedT) -> ItemT: ...
    def at(self, item: ItemT, slot: datetime) -> ItemT:
        """The row with another of the dispatcher's slots."""

    def opened_at(self, opened: OpenedT, slot: datetime) -> OpenedT: ...
    def not_made(self, opened: OpenedT) -> ResultT: ...
    def broke(self, opened: OpenedT, error: Exception) -> ResultT:
        """What to keep when the call raised: a bug, whose outcome nobody knows."""

    def halts(self, result: ResultT) -> bool:
        """Whether the account must not be called again before this result is written."""

    def release(self, items: Sequence[ItemT], now: datetime) -> None:
        """Give rows back for which no call was made, whether or not their attempts were written."""

    def release_permits(self) -> None:
        """The dispatcher has ended: its permits are free."""
