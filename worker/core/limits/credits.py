"""Caps on credits, in all or by period, and how many credits each period of now has used. Pure.

A period is a day, a week or a month of the calendar, in UTC, as a provider's invoice has them: a week begins on Monday.
A credit belongs to the day on which it was reserved. Its call is made on that day or not at all, so that no period has
more calls than its cap; and a refund goes back to that day, never to a later one.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from worker.core.foundation.notation import counted
from worker.core.model.endings import Kind
from worker.core.model.states import NOT_SENT, UNREACHABLE

# Kinds of answer that cost no credit: the provider refused before opening anything.
FREE = frozenset({Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.BAD_INPUT, Kind.CONFLICT, Kind.UNCLEAR})
# Outcomes of calls that cost nothing, as credits are counted.
COST_NOTHING = (*(kind.value for kind in FREE), NOT_SENT, UNREACHABLE)
ONE_DAY = timedelta(days=1)
PERIODS = ("day", "week", "month")


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
        return f"{counted(self.count, 'credit')} a {self.period}" if self.period else counted(self.count, "credit")


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
