"""Rate limits as pure arithmetic: when the next calls of an account may be made.

Slots are spaced evenly by the tightest of an account's limits. So no window of any limit, wherever the window starts,
holds more slots than the limit allows, however many workers reserve slots. There are no bursts: a batch cannot use up
an hour's quota in its first minute, so that a customer who signs up waits for the rest of the hour
(docs/decisions/0003-even-pacing.md).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
# A slot that was not used this long after its time is lost. Until then it may be used late, but not together with other
# slots: a process spaces its own calls like the slots, so that late calls are no faster than the limit.
LAPSE = timedelta(milliseconds=500)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Limit:
    """At most `count` calls in any `period`."""

    count: int
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Read "20/second", "10000/hour". Raises ValueError, with examples."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(second|minute|hour|day)s?\s*", text)
        if not match or int(match[1]) == 0:
            raise ValueError('expected a limit like "20/second", "1000/minute", "10000/hour" or "50000/day"')
        return cls(int(match[1]), UNITS[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{unit_of(self.period)}"

    @property
    def interval(self) -> timedelta:
        """The even spacing of calls that keeps this limit, rounded up to the microsecond."""
        return MICROSECOND * -(-(self.period // MICROSECOND) // self.count)


def unit_of(period: timedelta) -> str:
    """The name of a limit's period."""
    return next(name for name, length in UNITS.items() if length == period)


def tightest(limits: Iterable[Limit]) -> Limit | None:
    """The limit that decides the pace; None when there is none."""
    return max(limits, key=lambda limit: limit.interval, default=None)


@dataclass(frozen=True)
class Slots:
    """The right to make `count` calls: call number i (from 0) not before `at(i)`, nor after that slot lapsed."""

    first: datetime
    interval: timedelta
    count: int

    def at(self, index: int) -> datetime:
        return self.first + self.interval * index

    @property
    def end(self) -> datetime:
        """The time of the first slot after these."""
        return self.at(self.count)

    def until(self, when: datetime) -> int:
        """How many of the slots are not later than `when`."""
        if not self.interval:
            return self.count
        return max(min((when - self.first) // self.interval + 1, self.count), 0)


def offer(
    limits: Sequence[Limit],
    *,
    next_at: datetime | None,
    most: int,
    now: datetime,
    horizon: timedelta,
    found: timedelta = timedelta(0),
) -> Slots:
    """The slots that may be reserved now: at most `most`, none later than `horizon` from now.

    `next_at` is the account's next free slot, None when none was ever reserved. A caller that uses n slots stores
    `Slots.at(n)` as the new `next_at`, under the lock on the account's row. `found` is the spacing of the rate that
    was found for the provider; zero where none was found.
    """
    interval = max(spacing(limits), found)
    if not interval:
        return Slots(now, interval, max(most, 0))
    first = max(now, next_at or now)
    if first > now + horizon:
        return Slots(first, interval, 0)
    within = (now + horizon - first) // interval + 1
    return Slots(first, interval, max(min(most, within), 0))


def claim_again_at(next_at: datetime, *, horizon: timedelta, now: datetime) -> datetime:
    """When to reserve again, with slots reserved up to `next_at`: when half of the horizon is free.

    Not slot by slot as each comes within the horizon: that is a transaction for every call. Not the whole horizon at
    once: several workers take turns, and an event that arrives at one worker waits for that worker's next slot.
    """
    return max(next_at - horizon / 2, now)


def unused(next_at: datetime | None, slots: Iterable[datetime], *, interval: timedelta) -> datetime | None:
    """The next free slot after these reserved slots were not used: back to the last slot that stays reserved."""
    returned = set(slots)
    while next_at is not None and interval and next_at - interval in returned:
        next_at -= interval
    return next_at


def spacing(limits: Iterable[Limit]) -> timedelta:
    """The least time between two calls of one process to an account with these limits; zero without a limit."""
    limit = tightest(limits)
    return timedelta(0) if limit is None else limit.interval


def lapsed(slot: datetime, *, now: datetime) -> bool:
    """Whether a reserved slot may no longer be used."""
    return now > slot + LAPSE


def pause_until(*, retry_after: timedelta | None, backoff: timedelta, now: datetime) -> datetime:
    """Until when a rate-limited account is paused: for its `retry_after`, else for the backoff."""
    return now + (retry_after if retry_after is not None else backoff)
