"""For which accounts and senders the waiting rows wait, and which rows go before those of a batch."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.database.database import Database, fetch
from worker.core.database.fast.tally import CountOf
from worker.core.database.tables import Batch, BatchPlan
from worker.core.database.tables.types import word_of
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.plans.store.pilots import NOT_MET
from worker.reporting.store.counting import COUNTED, ROWS


@dataclass(frozen=True)
class Waiting:
    """What rows wait for, due or not. `names`: accounts and senders. `for_senders`: by account all of whose rows wait
    for their senders and not for a call, the channels of each."""

    names: frozenset[str]
    for_senders: Mapping[str, frozenset[frozenset[str]]]

    def kept_by(self, shut: Collection[str]) -> frozenset[str]:
        """The accounts for which no session is requested while these senders are shut."""
        kept = {account for account, each in self.for_senders.items() if all(one.intersection(shut) for one in each)}
        return frozenset(kept)


def waiting(database: Database) -> Waiting:
    """What the waiting rows wait for, but those of paused batches. Read from the kept counts."""
    paused = sa.select(Batch.id).where(Batch.pause_cause != "")
    alike = (COUNTED.kind, COUNTED.account, COUNTED.channel, COUNTED.reason)
    waits = (COUNTED.kind.in_([CountOf.JOB.value, CountOf.MESSAGE.value]), COUNTED.state == JobState.WAITING.value)
    query = sa.select(*alike).where(*waits, COUNTED.batch_id.not_in(paused)).group_by(*alike).having(ROWS > 0)
    names: set[str] = set()
    senders: dict[str, set[frozenset[str]]] = defaultdict(set)
    others: set[str] = set()
    with database.read() as connection:
        rows = fetch(connection, query)
    for row in rows:
        if row.kind == CountOf.MESSAGE:
            names.add(row.channel)
        elif row.reason == Reason.WAITS_FOR_SENDER:
            channels = frozenset(map(str, invitation_channels(word_of(Channel, row.channel))))
            names |= {row.account, *channels}
            senders[row.account].add(channels)
        else:
            names.add(row.account)
            others.add(row.account)
    only = {account: frozenset(each) for account, each in senders.items() if account not in others}
    return Waiting(frozenset(names), only)


@dataclass(frozen=True)
class Ahead:
    """The calls, by account, and the messages, by channel, that go before those of a batch. `to_come`: the messages
    of these calls, by account and channel. `silent`: the calls that no message follows."""

    calls: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    to_come: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Queue:
    """The rows of all lists that go in the order in which the lists began. `rows`: by batch, kind, account, channel."""

    rows: Sequence[Any]
    of_events: frozenset[int]

    def ahead_of(self, batch_id: int | None, *, began_at: datetime) -> Ahead:
        """What goes before this batch, which began then; None: before a list that is not imported yet. Before a day's
        events no list goes, and they go before each list."""
        found = Ahead()
        for row in () if batch_id in self.of_events else self.rows:
            if row.batch_id == batch_id:
                continue
            began = (max(row.created_at, row.start_at or row.created_at), row.batch_id)
            later = batch_id is not None and began > (began_at, batch_id)
            if later and row.batch_id not in self.of_events:
                continue
            if row.kind == CountOf.MESSAGE:
                found.messages[row.channel] += row.rows
                continue
            found.calls[row.account] += row.rows
            channels = invitation_channels(word_of(Channel, row.channel))
            if not channels:
                found.silent[row.account] += row.rows
            for channel in channels:
                found.to_come[row.account, channel] += row.rows
        return found


def queue(database: Database, *, now: datetime) -> Queue:
    """What is left of the lists: rows that are due go in the order of their due times.

    Not of paused lists, of those whose rows have times of their own, and of rows that wait until a later hour. Read
    from the kept counts, once for all batches.
    """
    stopped = sa.select(Batch.id).where(sa.or_(Batch.pause_cause != "", Batch.cancelled_at.is_not(None)))
    timed = sa.select(BatchPlan.batch_id).where(
        sa.or_(
            BatchPlan.per_hour.is_not(None),
            BatchPlan.deadline.is_not(None),
            BatchPlan.start_at > now,
            sa.and_(BatchPlan.first != "", BatchPlan.verdict.in_(["", NOT_MET])),
        )
    )
    alike = (
        *(COUNTED.batch_id, COUNTED.kind, COUNTED.account, COUNTED.channel),
        *(Batch.created_at, BatchPlan.start_at),
    )
    left = sa.select(*alike, ROWS.label("rows")).join(Batch, Batch.id == COUNTED.batch_id)
    left = left.join(BatchPlan, BatchPlan.batch_id == Batch.id, isouter=True)
    left = left.where(
        COUNTED.kind.in_([CountOf.JOB.value, CountOf.MESSAGE.value]),
        COUNTED.state.in_([JobState.WAITING.value, JobState.WORKING.value]),
        COUNTED.reason.not_in(_LATER),
        COUNTED.batch_id.not_in(stopped),
        COUNTED.batch_id.not_in(timed),
    )
    with database.read() as connection:
        of_events = connection.execute(sa.select(Batch.id).where(Batch.last_row.is_not(None))).scalars()
        return Queue(fetch(connection, left.group_by(*alike).having(ROWS > 0)), frozenset(of_events))


_LATER = (Reason.QUIET_HOURS, Reason.IN_REVIEW, Reason.ADDRESS_SPENT)
