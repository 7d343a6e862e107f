"""The pace of one batch, `--per-hour N`: at most N first invitations in any hour, however many workers send them. Pure.

Places are spaced evenly, like an account's slots. A place may be used up to `TOLERANCE` late, since due rows are looked
for once a second; the spacing is wider by as much, so that no hour has more than N.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
TOLERANCE = timedelta(seconds=10)


@dataclass(frozen=True)
class Places:
    """For each that asked, None if it may go now, else when to ask again. `next_at`: the next free place."""

    again_at: Sequence[datetime | None]
    next_at: datetime


def interval(per_hour: int) -> timedelta:
    """The time between two places."""
    return timedelta(microseconds=-(-(HOUR + TOLERANCE) // timedelta(microseconds=1) // per_hour))


def give_places(per_hour: int, next_at: datetime | None, weights: Sequence[int], *, now: datetime) -> Places:
    """Give places to rows, in their order; a row takes as many as its weight, and goes when its first has come."""
    spaced = interval(per_hour)
    place = max(next_at or now, now - TOLERANCE)
    again_at: list[datetime | None] = []
    taken = place
    for weight in weights:
        again_at.append(None if place <= now else place)
        place += spaced * weight
        if again_at[-1] is None:
            taken = place
    return Places(again_at, taken)


def planned_at(per_hour: int, begins_at: datetime, index: int) -> datetime:
    """When the row number `index` (from 0) is due, if nothing delays the batch."""
    return begins_at + interval(per_hour) * index


def ends_at(per_hour: int, begins_at: datetime, rows: int) -> datetime:
    """When the last of so many rows goes."""
    return begins_at + interval(per_hour) * max(rows - 1, 0)
