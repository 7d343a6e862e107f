"""How many sessions may be requested before their messages would be sent too late.

Providers open sessions faster than senders send messages. In a queue longer than a link's life, each link is too old
when it is to be sent. It is replaced, and is too old again: paid for, and never sent. So issuing waits for the senders:
`room` decides, by how many messages wait for each. Claims of jobs use these counts, which are refreshed now and then.

Rows that were put off because of their account or sender are due again once that may work again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import BATCH, EVENT, PRIORITIES, InvitationState, JobState
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, interval

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
    """What issuing knows of a sender now. `interval`: the least time between two messages; zero: no limit. `pause`: the
    rest of its pause. `is_shut`: it is stopped, has not answered, or is paused for longer than SHORT_PAUSE.
    """

    interval: timedelta = timedelta(0)
    pause: timedelta = timedelta(0)
    stopped: bool = False
    is_shut: bool = False


NOT_THERE = SenderState(stopped=True, is_shut=True)  # the configuration has it no more


def sender_state(state: BudgetState, rule: BudgetRule, *, now: datetime) -> SenderState:
    """What issuing knows of a sender."""
    least, stopped = interval(state, rule.at(state.ramp_from, now)), state.stopped_at is not None
    pause = max((state.blocked_until or now) - now, timedelta(0))
    return SenderState(least, pause, stopped, is_shut=stopped or state.unproven or pause > SHORT_PAUSE)


def room(*, max_age: timedelta, sender: SenderState, waiting: int) -> int | None:
    """How many more sessions may be requested for messages of one channel; None: any number.

    `max_age` is how old a link may be when it is sent: its lifetime less its freshness floor, the shortest of several
    routes. `waiting` messages are due and not sent. A channel that is shut sends nothing, so no session is requested.
    An empty queue has room for one session, however slow the channel is.
    """
    if sender.is_shut:
        return 0
    if not sender.interval:
        return None
    return max((max_age * QUEUE_SHARE - sender.pause) // sender.interval - waiting, 0 if waiting else 1)


def ask_again_at(*, max_age: timedelta, sender: SenderState, now: datetime) -> datetime:
    """When to ask again after there was no room."""
    if sender.stopped:
        return now + WHILE_STOPPED
    if sender.is_shut:
        return now + max(sender.pause, SOONEST)
    return now + min(max(max_age * QUEUE_SHARE / 4, SOONEST), LATEST)


# A count is used for this long, plus the messages of this process's claims since. Meanwhile other processes add
# messages, and the sender sends some. A count that leaves no room is refreshed at once if it is older than TRUSTED.
HOLDS = timedelta(seconds=10)
TRUSTED = timedelta(seconds=1)
MOST_COUNTED = 2**31 - 1  # what the database takes as a number of rows


class Asking(Protocol):
    """A job that asks for a session, whose message will stand in the queues of its channels."""

    channel: Channel

    @property
    def priority(self) -> int: ...


@dataclass
class Queue:
    """A channel's messages that are due, by priority."""

    counted_at: datetime
    waiting: dict[int, int]

    def ahead_of(self, priority: int) -> int:
        """How many messages are sent before a new message of this priority."""
        return sum(number for kind, number in self.waiting.items() if kind <= priority)


@dataclass
class Rooms:
    """The room for more messages on each channel, during one claim of one account's jobs.

    Messages are counted only for a job whose sender has a limit. `_queues`: one process's counts, by channel. Threads
    share them without a lock: a count may be a little old.
    """

    _connection: sa.Connection
    _queues: dict[str, Queue]
    _senders: Mapping[str, SenderState]
    max_age: timedelta
    _now: datetime

    def delay(self, job: Asking) -> timedelta:
        """How long the job's message will wait in its channel's queue. With several channels: the longest wait."""
        waits = timedelta(0)
        for channel in invitation_channels(job.channel):
            sender = self._senders.get(channel)
            if sender is not None and sender.interval:
                ahead = self._queue(channel).ahead_of(job.priority)
                waits = max(waits, ahead * sender.interval + sender.pause)
        return waits

    def full_sender(self, job: Asking) -> SenderState | None:
        """A sender without room for the job's message. None: there is room, and the job now occupies it."""
        paced = []
        for channel in invitation_channels(job.channel) if self._senders else ():
            sender = self._senders.get(channel, NOT_THERE)
            if sender.is_shut or (sender.interval and not self._has_room(channel, sender, job.priority)):
                return sender
            if sender.interval:
                paced.append(channel)
        for channel in paced:
            waiting = self._queue(channel).waiting
            waiting[job.priority] = waiting.get(job.priority, 0) + 1
        return None

    def _has_room(self, channel: str, sender: SenderState, priority: int) -> bool:
        counted = self._queue(channel)
        if room(max_age=self.max_age, sender=sender, waiting=counted.ahead_of(priority)):
            return True
        if counted.counted_at >= self._now - TRUSTED:
            return False
        self._queues.pop(channel, None)  # another thread may have removed the count already
        return bool(room(max_age=self.max_age, sender=sender, waiting=self._queue(channel).ahead_of(priority)))

    def _queue(self, channel: str) -> Queue:
        known = self._queues.get(channel)
        if known is None or not self._now - HOLDS < known.counted_at <= self._now:
            # Of each priority counted up to this many.
            most = min(int(self.max_age * QUEUE_SHARE / self._senders[channel].interval) + 1, MOST_COUNTED)
            rows = fetch(self._connection, _WAITING, {"channel_": channel, "now": self._now, "most": most})
            known = self._queues[channel] = Queue(self._now, {row.priority: row.waiting for row in rows})
        return known


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


CHUNK = 2000  # jobs in one transaction
_WAITS = (
    sa.select(Job.id)
    .where(
        Job.id > sa.bindparam("after"),
        Job.priority.in_(PRIORITIES),
        Job.state == bulk.fixed(JobState.WAITING),
        Job.leader_id.is_(None),
        Job.due_at > sa.bindparam("now"),
        Job.reason == Reason.WAITS_FOR_SENDER,
    )
    .order_by(Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)


def make_waiting_jobs_due(database: Database, *, now: datetime) -> None:
    """Make the jobs that wait for a sender due now, because their sender may have room again.

    Jobs that another transaction has locked are skipped.
    """
    after: int | None = 0
    while after is not None:
        # In chunks: there may be a million jobs, and dispatchers must be able to claim meanwhile.
        with database.write() as connection:
            ids = list(connection.execute(_WAITS, {"after": after, "now": now, "most": CHUNK}).scalars())
            if ids:
                due = sa.update(Job).where(bulk.among(Job.id, "ids")).values(due_at=now)
                connection.execute(due, {"ids": bulk.keys(ids)})
            after = ids[-1] if ids else None


def make_refused_due(database: Database, *, now: datetime) -> None:
    """Make the rows that set what they might not due now: the configuration that this process starts with may give the
    right."""
    rows = (Job.state == bulk.fixed(JobState.WAITING), Job.reason == bulk.fixed(Reason.RIGHT_MISSING), Job.due_at > now)
    database.change(sa.update(Job).where(*rows).values(due_at=now))


def make_snoozed_due(database: Database, names: Collection[str], *, now: datetime) -> None:
    """Make the rows of these accounts and channels due now whose own call was answered with the account's pause."""
    reasons = (Reason.RATE_LIMITED, Reason.UNREACHABLE)
    with database.write() as connection:
        for model, of, waiting in (
            (Job, Job.account, JobState.WAITING),
            (InvitationRow, InvitationRow.channel, InvitationState.WAITING),
        ):
            rows = sa.update(model).where(of.in_(names), model.state == waiting, model.reason.in_(reasons))
            connection.execute(rows.where(model.due_at > now, model.unknown_attempt.is_(None)).values(due_at=now))
