"""The limits of an account as pure arithmetic: when its next calls may be made, and how many its caps on credits leave.

Slots are spaced evenly by the tightest of an account's limits. So no window of any limit, wherever the window starts,
holds more slots than the limit allows, however many workers reserve slots (docs/decisions/0003-even-pacing.md). Under
an hourly or daily limit some calls may go ahead of that pace, so that a small list does not wait.

Of a limit of N calls in W, B may go ahead: what `burst` says, and a tenth of N at most. Two times are kept. The next
slot may lie at the earlier one, and each slot moves both on, whichever of them allowed it:

- `even_at`: slots are W / N apart. After a burst it lies in the future, until what went ahead is paid back.
- `ahead_at`: slots are W / (N - B) apart, but it may lag behind by B of them: these may go ahead. A slot that only
  `even_at` allowed ends the lag.

No window of W holds more than N slots, wherever it begins. If `ahead_at` allowed all of its slots, they are B and what
lies W / (N - B) apart in W: N. Else take the last one that it did not allow. Before it the window holds no more than
the even share, for `even_at` had come. After it nothing may go ahead, and slots are further apart than the even pace.
So both parts together hold what the even pace allows. A time that is later than it might be only makes calls later: so
slots may be lost.

Credits are capped in all, or by period: a day, a week or a month of the calendar, in UTC, as a provider's invoice has
them: a week begins on Monday. A credit belongs to the day on which it was reserved. Its call is made on that day or not
at all, so that no period has more calls than its cap; and a refund goes back to that day, never to a later one.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from onboarding_worker.core.foundation import notation
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import NOT_SENT, UNREACHABLE

UNITS = {name: notation.UNITS[name] for name in ("second", "minute", "hour", "day")}
# A slot that was not used this long after its time is lost. Until then it may be used late, but not together with other
# slots: a process spaces its own calls like the slots, so that late calls are no faster than the limit.
LAPSE = timedelta(milliseconds=500)
MICROSECOND = timedelta(microseconds=1)
# Slots that are further apart are not left out for other workers: each claim reserves only a few of them.
LEFT_OUT_MOST = timedelta(milliseconds=25)
# How long before the first slot that it has left out a worker claims again: a timer or a connection may be late.
BACK_BEFORE = timedelta(milliseconds=10)


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
    """The right to make `count` calls: call number i (from 0) not before `at(i)`, nor after that slot lapsed.

    The first `left` calls get slots that other claims have left out: `left_at`, and every other one after it. The
    further calls get slots from `first` on: each one or, where this claim leaves out every other one, each second one.
    """

    first: datetime
    interval: timedelta
    count: int
    left_at: datetime | None = None  # the first slot that is left out, whether or not it may be reserved now
    left: int = 0
    leaves_out: bool = False

    def at(self, index: int) -> datetime:
        if self.left_at is not None and index < self.left:
            return self.left_at + 2 * self.interval * index
        apart = 2 * self.interval if self.leaves_out else self.interval
        return self.first + apart * (index - self.left)

    def reserved(self, number: int) -> tuple[datetime, datetime | None]:
        """`next_at` and `left_at` of the account after the first `number` of these slots were reserved."""
        if number > self.left:
            return self.at(number), self.first + self.interval if self.leaves_out else None
        left_at = None if self.left_at is None else self.left_at + 2 * self.interval * number
        return self.first, left_at if left_at is not None and left_at < self.first else None

    def again_at(self, number: int, *, horizon: timedelta, now: datetime) -> datetime:
        """When to claim again after the first `number` of these were reserved: when two thirds of the horizon are free.
        Before the slots that this claim leaves out are over: where no other worker has taken them, this one does.

        Not slot by slot as each comes within the horizon: that is a transaction for every call. Not the whole horizon
        at once: several workers take turns, and an event that arrives at one worker waits for that worker's next slot.
        """
        next_at, left_at = self.reserved(number)
        again_at = (next_at if left_at is None or number > self.left else left_at) - horizon / 3
        if self.leaves_out and number > self.left:
            again_at = min(again_at, self.first + self.interval - BACK_BEFORE)
        return max(again_at, now)

    def until(self, when: datetime) -> int:
        """How many of the slots are not later than `when`."""
        return bisect_right(range(self.count), when, key=self.at) if self.interval else self.count


def offer(
    limits: Sequence[Limit],
    *,
    next_at: datetime | None,
    left_at: datetime | None = None,
    most: int,
    now: datetime,
    horizon: timedelta,
    found: timedelta = timedelta(0),
    shared: bool = False,
) -> Slots:
    """The slots that may be reserved now: at most `most`, none later than `horizon` from now.

    From `next_at` on all slots are free; None: none was ever reserved. `left_at` is the first free slot before it,
    which a claim has left out: from there every other slot is free. None: there is none. A caller that uses n slots
    stores `Slots.reserved(n)` as the new values, under the lock on the account's row. `found` is the spacing of the
    rate that was found for the provider; zero where none was found.

    `shared`: other workers make calls too. Then every other slot is left out for them, so that each worker has one
    soon: an event waits for the next slot of its worker.
    """
    interval = max(spacing(limits), found)
    if not interval:
        return Slots(now, interval, max(most, 0))
    first, until = max(now, next_at or now), now + horizon
    if left_at is not None:  # the first slot that was left out and is not over
        left_at += 2 * interval * max(-(-(now - left_at) // (2 * interval)), 0)
        if next_at is None or left_at >= next_at or not _is_every_other(left_at, next_at, interval):
            left_at = None
    left = 0
    if left_at is not None:
        left = max(min(-(-(first - left_at) // (2 * interval)), (until - left_at) // (2 * interval) + 1, most), 0)
    leaves_out = shared and interval <= LEFT_OUT_MOST
    further = max((until - first) // (2 * interval if leaves_out else interval) + 1, 0)
    return Slots(first, interval, max(min(most, left + further), 0), left_at, left, leaves_out)


def _is_every_other(left_at: datetime | None, next_at: datetime, interval: timedelta) -> bool:
    """False if the interval has changed since slots were left out: the others are not where they would be now."""
    if left_at is None:
        return True
    number, rest = divmod(next_at - left_at, interval)
    return not rest and number % 2 == 1


def unused(
    next_at: datetime | None, left_at: datetime | None, slots: Iterable[datetime], *, interval: timedelta
) -> tuple[datetime | None, datetime | None]:
    """`next_at` and `left_at` after these reserved slots were not used: back to the last slot that stays reserved.

    After a change of the spacing no slot is released: it is not known which slots stay reserved.
    """
    not_used = set(slots)
    if next_at is None or not interval or not _is_every_other(left_at, next_at, interval):
        return next_at, left_at
    while left_at is not None and left_at - 2 * interval in not_used:
        left_at -= 2 * interval
    while (before := next_at - (interval if left_at is None else 2 * interval)) in not_used:
        next_at = before
        if left_at is not None and left_at >= next_at:
            left_at = None
    return next_at, left_at


def spacing(limits: Iterable[Limit]) -> timedelta:
    """The least time between two calls of one process to an account with these limits; zero without a limit."""
    limit = tightest(limits)
    return timedelta(0) if limit is None else limit.interval


# Under a limit of a shorter period a burst would save seconds.
LEAST_PERIOD = timedelta(hours=1)
SHARE = 10  # of the period: a tenth
# Not all at once: a provider may have a limit that it does not name, and a kill leaves the calls in flight in doubt.
QUICK = timedelta(milliseconds=50)
# A call may leave half a second after its slot (`limits.LAPSE`), and take as long on its way.
LATE = timedelta(seconds=1)


@dataclass(frozen=True)
class Burst:
    """What a budget's limits allow. `even`, `slow`: the spacing of the even pace, and of the one that pays back.
    `quick`: the spacing of what goes ahead. `ahead`: how late `ahead_at` may be."""

    even: timedelta
    slow: timedelta
    quick: timedelta
    ahead: timedelta


@lru_cache(maxsize=100)
def burst_of(limits: tuple[Limit, ...], burst: timedelta) -> Burst | None:
    """None: nothing may go ahead, or the pace is as quick as a burst."""
    long = [limit for limit in limits if limit.period >= LEAST_PERIOD]
    quick = max(QUICK, spacing(limit for limit in limits if limit.period < LEAST_PERIOD))
    most = min((limit.count * min(burst, limit.period / SHARE) // limit.period for limit in long), default=0)
    if not most or quick >= spacing(long):
        return None
    even = spacing(Limit(limit.count, limit.period + LATE) for limit in long)
    slow = spacing(Limit(limit.count - most, limit.period + LATE) for limit in long)
    return Burst(even, slow, quick, slow * most)


@dataclass(frozen=True)
class NextSlot:
    """Where the next slot of a budget may lie, by its burst alone."""

    burst: Burst
    even_at: datetime
    ahead_at: datetime

    @property
    def at(self) -> datetime:
        return min(self.even_at, self.ahead_at)

    def after(self, slots: Sequence[datetime]) -> "NextSlot":
        """Once these were reserved, in their order."""
        burst, even_at, ahead_at = self.burst, self.even_at, self.ahead_at
        for slot in slots:
            even_at = max(even_at, slot) + burst.even
            ahead_at = max(ahead_at, slot - burst.ahead) + burst.slow
        return replace(self, even_at=even_at, ahead_at=ahead_at)

    def has_gone_ahead(self, now: datetime) -> bool:
        """Whether calls went ahead lately, and more of them may."""
        return self.even_at - now > 2 * self.burst.even and now - self.ahead_at > self.burst.slow

    def offer(
        self, *, next_at: datetime | None, most: int, now: datetime, horizon: timedelta, found: timedelta
    ) -> Slots:
        """As `limits.offer`. Slots that go ahead and others are never in one offer: all are equally far apart."""
        burst, first = self.burst, max(now, next_at or now, self.at)
        apart = max(found, burst.even if self.even_at <= first else burst.slow)
        quick = max(found, burst.quick)
        if quick < burst.slow:
            late = first - max(self.ahead_at, first - burst.ahead)
            together = late // (burst.slow - quick) + 1
            if together > 1:
                apart, most = quick, min(most, together)
        fit = max((now + horizon - first) // apart + 1, 0)
        return Slots(first, apart, max(min(most, fit), 0))

    def reached_at(self, calls: int, *, begins_at: datetime, apart: timedelta) -> datetime:
        """When so many calls have left, if each slot is used from `begins_at` on; none closer than `apart`."""
        burst = self.burst
        even_at, ahead_at = max(self.even_at, begins_at), max(self.ahead_at, begins_at - burst.ahead)
        paced = min(even_at + calls * burst.even, ahead_at + calls * burst.slow)
        return max(begins_at + calls * max(apart, burst.quick), paced)


# Kinds of answer that cost no credit: the provider refused before opening anything.
FREE = frozenset({Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.BAD_INPUT, Kind.CONFLICT, Kind.UNCLEAR})
# Outcomes of calls that cost nothing, as credits are counted.
COST_NOTHING = (*(kind.value for kind in FREE), NOT_SENT, UNREACHABLE)
ONE_DAY = timedelta(days=1)


def begin_of(period: str, day: date) -> date:
    """The first day of the period that this day is in."""
    match period:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def end_of(period: str, day: date) -> datetime:
    """When the period that this day is in is over."""
    begins = begin_of(period, day)
    after = {"week": begins + timedelta(days=7), "month": begin_of("month", begins + timedelta(days=31))}
    return datetime.combine(after.get(period, begins + ONE_DAY), time(), UTC)


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


@dataclass(frozen=True)
class CreditCap:
    """At most `count` credits in each `period`; in all if that is empty."""

    count: int
    period: str = ""

    @classmethod
    def parse(cls, text: str) -> "CreditCap":
        """Read "60000", "2000 / day". Raises ValueError, with examples."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:/\s*(day|week|month)s?\s*)?", text)
        if not match or (match[2] and int(match[1]) == 0):
            raise ValueError(
                'expected a number of credits, such as 60000, "2000 / day", "9000 / week" or "30000 / month"'
            )
        return cls(int(match[1]), match[2] or "")

    def __str__(self) -> str:
        return f"{self.count} / {self.period}" if self.period else str(self.count)

    @property
    def in_words(self) -> str:
        credits = notation.counted(self.count, "credit")
        return f"{credits} a {self.period}" if self.period else credits


@dataclass(frozen=True)
class UsedCredits:
    """The credits used on `day`, the last one that had any, and in its week and its month so far; `day` None: none was
    ever counted."""

    day: date | None = None
    today: int = 0
    week: int = 0
    month: int = 0

    def at(self, now: datetime) -> "UsedCredits":
        """The same for the periods of now. A process whose clock is behind counts into the later day."""
        today = self.day_at(now)
        if self.day is None or self.day == today:
            return replace(self, day=today)
        week = self.week if begin_of("week", self.day) == begin_of("week", today) else 0
        return UsedCredits(today, 0, week, self.month if begin_of("month", self.day) == begin_of("month", today) else 0)

    def day_at(self, now: datetime) -> date:
        """The day into which is counted now."""
        today = day_of(now)
        return today if self.day is None else max(self.day, today)

    def of(self, period: str) -> int:
        return {"day": self.today, "week": self.week, "month": self.month}[period]

    def plus(self, credits: int, *, on: date, now: datetime) -> "UsedCredits":
        """With these credits of that day; refunds are negative. What is of an earlier period changes nothing now."""
        spent, day = self.at(now), self.day_at(now)

        def after(period: str) -> int:
            same = begin_of(period, on) == begin_of(period, day)
            return max(spent.of(period) + credits, 0) if same else spent.of(period)

        return UsedCredits(day, after("day"), after("week"), after("month"))


def left_of(caps: tuple[CreditCap, ...], spent: UsedCredits, now: datetime) -> int | None:
    """The calls that the caps by period still allow now; None without any."""
    spent = spent.at(now)
    return min((max(cap.count - spent.of(cap.period), 0) for cap in caps), default=None)


def used_up(caps: tuple[CreditCap, ...], spent: UsedCredits, now: datetime) -> tuple[datetime, CreditCap] | None:
    """When the next credit is there, and the cap that is used up until then; None: there is one now."""
    spent, day = spent.at(now), spent.day_at(now)
    over = [(end_of(cap.period, day), cap) for cap in caps if spent.of(cap.period) >= cap.count]
    return max(over, key=lambda one: one[0], default=None)
