"""How many sessions may be requested before their messages would be sent too late. Pure.

Providers open sessions faster than senders send messages. In a queue longer than a link's life, each link is too old
when it is to be sent. It is replaced, and is too old again: paid for, and never sent. So issuing waits for the senders.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# The queue may use this share of a link's usable time. The rest is for delays that the queue's length does not show:
# events that go first, retries, a limit that turns out lower, a short pause.
QUEUE_SHARE = 0.5
# A pause up to this long counts as a part of the queue. During a longer one no session is requested.
SHORT_PAUSE = timedelta(minutes=1)
# How long links live where the vendor decides it and gives it only with the link. The adapters assume the same.
ASSUMED_LIFETIME = timedelta(hours=1)
# When to ask again: well before the queue is empty, so that the sender never waits; but not so often that the database
# only defers a million rows.
SOONEST, LATEST = timedelta(seconds=1), timedelta(minutes=10)
WHILE_STOPPED = timedelta(minutes=5)  # `onboard account resume` does not wait for it


@dataclass(frozen=True)
class SenderState:
    """What issuing knows of a sender. `interval`: the least time between two messages; zero: no limit."""

    interval: timedelta = timedelta(0)
    paused_until: datetime | None = None
    stopped: bool = False
    unproven: bool = False  # it did not answer the last time, or was not tried yet

    def pause(self, now: datetime) -> timedelta:
        """The rest of its pause."""
        return max((self.paused_until or now) - now, timedelta(0))

    def is_shut(self, now: datetime) -> bool:
        """Whether it is stopped, does not answer, or is paused for longer than SHORT_PAUSE."""
        return self.stopped or self.unproven or self.pause(now) > SHORT_PAUSE


def room(*, max_age: timedelta, sender: SenderState, waiting: int, now: datetime) -> int | None:
    """How many more sessions may be requested for messages of one channel; None: any number.

    `max_age` is how old a link may be when it is sent: its lifetime less its freshness floor, the shortest of several
    routes. `waiting` messages are due and not sent. A channel that is shut sends nothing, so no session is requested.
    An empty queue has room for one session, however slow the channel is.
    """
    if sender.is_shut(now):
        return 0
    if not sender.interval:
        return None
    return max((max_age * QUEUE_SHARE - sender.pause(now)) // sender.interval - waiting, 0 if waiting else 1)


def ask_again_at(*, max_age: timedelta, sender: SenderState, now: datetime) -> datetime:
    """When to ask again after there was no room."""
    if sender.stopped:
        return now + WHILE_STOPPED
    if sender.is_shut(now):
        return max(sender.paused_until or now, now + SOONEST)
    return now + min(max(max_age * QUEUE_SHARE / 4, SOONEST), LATEST)
