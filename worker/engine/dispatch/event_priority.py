"""In which order a dispatcher's rows are called for, and in which of its slots: events first. Pure.

A batch's rows hold their slots before an event comes, up to a horizon ahead. The event's row is taken with a later
slot, and the two change slots: so it waits for the next call of this dispatcher, not behind all that were reserved. The
slots stay the same ones, each is one row's, and batches keep as many of them as they were given when rows were taken
(`event_share`): only which of their rows comes when has changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class Rank:
    """What decides of a row that does not tell it by itself."""

    is_event: bool
    slot: datetime | None


class Ranked(Protocol):
    @property
    def is_event(self) -> bool: ...
    @property
    def slot(self) -> datetime | None: ...


T = TypeVar("T")


def deal(rows: Sequence[T], *, item: Callable[[T], Ranked], at: Callable[[T, datetime], T]) -> list[T]:
    """The rows with events in front, each kind in its order, and the slots that they hold dealt out in that order.

    `item` tells of a row what decides; `at` is the row with another slot.
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
