"""How many messages wait for each sender. Claims of jobs use these counts, which are refreshed now and then."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.priorities import BATCH, EVENT
from worker.core.database.tables import InvitationRow
from worker.core.limits.backpressure import QUEUE_SHARE, SenderState, room
from worker.core.model.states import InvitationState

# A count is used for this long, plus the messages of this process's claims since. Meanwhile other processes add
# messages, and the sender sends some. A count that leaves no room is refreshed at once if it is older than TRUSTED.
HOLDS = timedelta(seconds=10)
TRUSTED = timedelta(seconds=1)
MOST_COUNTED = 2**31 - 1  # what the database takes as a number of rows


@dataclass
class _Queue:
    """A channel's messages that are due, by priority."""

    counted_at: datetime
    waiting: dict[int, int]

    def ahead_of(self, priority: int) -> int:
        """How many messages are sent before a new message of this priority."""
        return sum(number for kind, number in self.waiting.items() if kind <= priority)


class Wants(Protocol):
    """A claimed job that needs room for its message."""

    @property
    def channel(self) -> Channel: ...
    @property
    def priority(self) -> int: ...


class Rooms:
    """The room for more messages on each channel, during one claim of one account's jobs."""

    def __init__(
        self,
        connection: sa.Connection,
        queues: dict[str, _Queue],
        senders: Mapping[str, SenderState],
        max_age: timedelta,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._queues = queues
        self._senders = senders
        self._now = now
        self.max_age = max_age

    def delay(self, job: Wants) -> timedelta:
        """How long the job's message will wait in its channel's queue. With several channels: the longest wait."""
        return max((self._delay(channel, job.priority) for channel in self._slow(job)), default=timedelta(0))

    def full_sender(self, job: Wants) -> SenderState | None:
        """A sender without room for the job's message. None: there is room, and the job now occupies it."""
        channels = [channel for channel in invitation_channels(job.channel) if channel in self._senders]
        for channel in channels:
            if self._room(channel, job.priority) == 0:
                return self._senders[channel]
        for channel in self._slow(job):
            waiting = self._queue(channel).waiting
            waiting[job.priority] = waiting.get(job.priority, 0) + 1
        return None

    def _slow(self, job: Wants) -> list[str]:
        channels = invitation_channels(job.channel)
        return [name for name in channels if name in self._senders and self._senders[name].interval]

    def _delay(self, channel: str, priority: int) -> timedelta:
        sender = self._senders[channel]
        return self._queue(channel).ahead_of(priority) * sender.interval + sender.pause(self._now)

    def _room(self, channel: str, priority: int) -> int | None:
        sender = self._senders[channel]
        if sender.is_shut(self._now) or not sender.interval:
            return room(max_age=self.max_age, sender=sender, waiting=0, now=self._now)
        ahead = self._queue(channel).ahead_of(priority)
        left = room(max_age=self.max_age, sender=sender, waiting=ahead, now=self._now)
        if left == 0 and self._queue(channel).counted_at < self._now - TRUSTED:
            self._queues.pop(channel, None)  # another thread may have removed the count already
            ahead = self._queue(channel).ahead_of(priority)
            left = room(max_age=self.max_age, sender=sender, waiting=ahead, now=self._now)
        return left

    def _queue(self, channel: str) -> _Queue:
        known = self._queues.get(channel)
        if known is None or not self._now - HOLDS < known.counted_at <= self._now:
            most = min(int(self.max_age * QUEUE_SHARE / self._senders[channel].interval) + 1, MOST_COUNTED)
            known = self._queues[channel] = _Queue(self._now, _waiting(self._connection, channel, most, now=self._now))
        return known


class Backlogs:
    """One process's counts of the senders' queues. Threads share them without a lock: a count may be a little old."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def rooms(
        self, connection: sa.Connection, senders: Mapping[str, SenderState], *, max_age: timedelta, now: datetime
    ) -> Rooms:
        """The room at these senders, by channel. Messages are counted only for a job whose sender has a limit."""
        return Rooms(connection, self._queues, senders, max_age, now)


def _count(priority: int) -> sa.Select[int, int]:
    first = (
        sa.select(sa.literal(1))
        .where(
            InvitationRow.channel == sa.bindparam("channel_"),
            InvitationRow.priority == priority,
            InvitationRow.state == bulk.fixed(InvitationState.WAITING),
            InvitationRow.due_at <= sa.bindparam("now"),
        )
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .subquery()
    )
    return sa.select(sa.literal(priority).label("priority"), sa.func.count().label("waiting")).select_from(first)


_WAITING = sa.union_all(_count(EVENT), _count(BATCH))


def _waiting(connection: sa.Connection, channel: str, most: int, *, now: datetime) -> dict[int, int]:
    """The number of the channel's due messages by priority, counted up to `most` for each."""
    rows = fetch(connection, _WAITING, {"channel_": channel, "now": now, "most": most})
    return {row.priority: row.waiting for row in rows}
