"""How far calls may go ahead of the even pace, so that a small list does not wait under an hourly limit. Pure.

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
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from worker.core.limits.rate_limits import Limit, Slots, spacing

# Under a limit of a shorter period a burst would save seconds.
LEAST_PERIOD = timedelta(hours=1)
SHARE = 10  # of the period: a tenth
# Not all at once: a provider may have a limit that it does not name, and a kill leaves the calls in flight in doubt.
QUICK = timedelta(milliseconds=50)
# A call may leave half a second after its slot (`rate_limits.LAPSE`), and take as long on its way.
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
        """As `rate_limits.offer`. Slots that go ahead and others are never in one offer: all are equally far apart."""
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
