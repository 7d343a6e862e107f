"""How many sessions may be asked for before their messages would leave too late. Pure.

Providers open sessions faster than senders send. In a queue that is longer than a link's life each link would be too
old at its turn, and replaced, and too old again: paid for, and never sent. So issuing waits for the senders.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# The queue may take this share of the time that a link keeps. The rest is for what the queue's length does not tell:
# events that go first, retries, a limit that turns out lower, a short pause.
SHARE = 0.5
# A pause that is over so soon is a part of the queue; for a longer one nothing is asked for.
SHORT_PAUSE = timedelta(minutes=1)
# How long links live where the vendor decides and does not say before there is one; as the adapters do.
ASSUMED_LIFETIME = timedelta(hours=1)
# When to ask again: well before the queue is empty, that the sender never waits; but not so often that putting a
# million rows off would be all that a database does.
SOONEST, LATEST = timedelta(seconds=1), timedelta(minutes=10)
WHILE_STOPPED = timedelta(minutes=5)  # a person's `resume` does not wait for it


@dataclass(frozen=True)
class Lane:
    """A sender, as whoever asks for sessions sees it. `interval`: the least time between two messages; zero: none."""

    interval: timedelta = timedelta(0)
    paused_until: datetime | None = None
    stopped: bool = False

    def pause(self, now: datetime) -> timedelta:
        """What is left of its pause."""
        return max((self.paused_until or now) - now, timedelta(0))

    def is_shut(self, now: datetime) -> bool:
        """Whether it is stopped, or paused for longer than a queue makes up for."""
        return self.stopped or self.pause(now) > SHORT_PAUSE


def room(*, max_age: timedelta, lane: Lane, waiting: int, now: datetime) -> int | None:
    """How many more sessions may be asked for, for messages of one channel; None: any number.

    `max_age` is how old a link may be when it leaves: its lifetime less its freshness floor, of several routes the
    shortest. `waiting` are due and have not left. A channel that is shut sends nothing, so nothing is asked for either.
    An empty queue has room for one, however slow the channel is.
    """
    if lane.is_shut(now):
        return 0
    if not lane.interval:
        return None
    return max((max_age * SHARE - lane.pause(now)) // lane.interval - waiting, 0 if waiting else 1)


def ask_again_at(*, max_age: timedelta, lane: Lane, now: datetime) -> datetime:
    """When to look again for what there was no room for."""
    if lane.stopped:
        return now + WHILE_STOPPED
    if lane.is_shut(now) and lane.paused_until is not None:
        return lane.paused_until
    return now + min(max(max_age * SHARE / 4, SOONEST), LATEST)
