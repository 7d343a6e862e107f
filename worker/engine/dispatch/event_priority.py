"""The order of a dispatcher's calls, and which row gets which slot: events first. Pure.

Batch rows hold their slots before an event comes, up to a horizon ahead. The event's row is claimed with a later slot;
then the two rows exchange slots. So the event waits for the next call of this dispatcher, not behind all reserved
calls. The set of slots stays the same, each slot is one row's, and batches keep as many slots as the claims gave them
(`event_share`): only the order of their rows changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class Rank:
    """The two values that decide a row's order, for rows that do not have them as attributes."""

    is_event: bool
    slot: datetime | None


class Ranked(Protocol):
    @property
    def is_event(self) -> bool: ...
    @property
    def slot(self) -> datetime | None: ...


T = TypeVar("T")


def deal(rows: Sequence[T], *, item: Callable[[T], Ranked], at: Callable[[T, datetime], T]) -> list[T]:
    """Returns the rows with events in front, each kind in its order, and deals out their slots in that order.

    `item(row)` has the values that decide; `at(row, slot)` returns the row with another slot.
    """
    ranks = [item(row) for row in rows]
    if not any(later.is_event and not earlier.is_event for earlier, later in pairwise(ranks)):
        return list(rows)
    order = sorted(range(len(rows)), key=lambda index: not ranks[index].is_event)
    slots = iter(sorted(rank.slot for rank in ranks if rank.slot is not None))
    dealt = []
    for index in order:
        slot = None if ranks[index].slot is None else next(slots)
        dealt.append(rows[index] if slot is None or slot == ranks[index].slot else at(rows[index], slot))
    return dealt
