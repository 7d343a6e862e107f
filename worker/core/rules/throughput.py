"""How fast the calls of a budget end while rows wait for them: measured, for forecasts. Pure.

Only stretches in which rows waited throughout count: a sender that gets a message each second is not slow. The
stretches of all workers go into one row. What was measured fades: newer stretches outweigh it after so many calls that
they say enough, or after some minutes.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

# Older calls weigh less. So many calls say enough: where they take seconds, the last seconds count, since the list may
# end as soon.
WINDOW, SHORTEST_WINDOW, ENOUGH_CALLS = timedelta(minutes=1), timedelta(seconds=15), 120
# Less busy time than this in the window says nothing: in a burst rows wait for a second anywhere.
LEAST, LEAST_CALLS = timedelta(seconds=10), 10
# Two stretches with no more between them are one: then calls were made or waited for in between, too.
GAP = timedelta(seconds=3)
# How long a measured pace outranks a configured limit. After that it only replaces what would be assumed.
FRESH = timedelta(minutes=10)


class Stretch(NamedTuple):
    """What one dispatcher made: `calls` ended within `took`, in which rows waited for their calls all the time."""

    calls: int
    took: timedelta


@dataclass(frozen=True)
class MeasuredThroughput:
    """The calls that ended in so many busy seconds, of all workers together; `until`: the end of the last stretch."""

    calls: float = 0.0
    seconds: float = 0.0
    until: datetime | None = None

    @property
    def interval(self) -> timedelta | None:
        """The time between two calls; None: too little was measured."""
        if self.seconds < LEAST.total_seconds() or self.calls < LEAST_CALLS:
            return None
        return timedelta(seconds=self.seconds / self.calls)

    def is_fresh(self, now: datetime) -> bool:
        return self.until is not None and now - self.until <= FRESH


def with_stretch(pace: MeasuredThroughput, stretch: Stretch, *, now: datetime) -> MeasuredThroughput:
    """The pace with a stretch that has just ended.

    Another worker's stretches overlap with this one: the time since the last of them is counted once. Idle time fades
    what was measured before: an account that is busy for a second now and then is not measured at all.
    """
    took = stretch.took
    if pace.until is not None and timedelta(0) <= now - pace.until <= stretch.took + GAP:
        took = now - pace.until
    elif pace.until is not None:
        idle = max(now - pace.until - took, timedelta(0))
        kept = math.exp(-idle / WINDOW)
        pace = replace(pace, calls=pace.calls * kept, seconds=pace.seconds * kept)
    if pace.until is not None and not pace.is_fresh(now):
        pace = MeasuredThroughput()
    calls, seconds = pace.calls + stretch.calls, pace.seconds + took.total_seconds()
    enough = ENOUGH_CALLS * seconds / calls if calls else math.inf
    window = min(max(enough, SHORTEST_WINDOW.total_seconds()), WINDOW.total_seconds())
    fade = min(window / seconds, 1.0) if seconds else 1.0
    return MeasuredThroughput(calls * fade, seconds * fade, max(now, pace.until or now))
