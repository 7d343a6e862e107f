"""Batches with rows that were not sent, which `run` names and leaves alone; what rows wait for; batches that wait for a
person."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from worker.domain.model.channels import CHANNELS
from worker.domain.model.customers import Channel, invitation_channels
from worker.domain.model.pauses import PauseCause
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState
from worker.store.base import bulk
from worker.store.base.database import Database, fetch
from worker.store.base.priorities import PAUSED, PRIORITIES
from worker.store.base.tally import Kind
from worker.store.onboarding.batches import BATCH_FACTS, BatchFacts
from worker.store.onboarding.sessions import FIRST
from worker.store.operators.counting import COUNTED, ROWS
from worker.store.tables import Batch, InvitationRow
from worker.store.tables.types import word_of

# A message that waits longer than this is a reminder, or one for a customer who has the link in the app.
SOON = timedelta(days=1)
_ANY_PRIORITY = [*PRIORITIES, *(priority + PAUSED for priority in PRIORITIES)]


@dataclass(frozen=True)
class Unsent:
    """A batch, and how many of its rows wait for their session or first message (`left_of`): 0 where only further
    messages of invited rows wait. `from_events`: of a day's events, not of a list."""

    batch: BatchFacts
    rows: int
    from_events: bool


def unsent(database: Database, *, now: datetime) -> list[Unsent]:
    """The batches with rows that were not sent, the oldest first. The cost follows the messages that wait."""
    jobs = _jobs(JobState.WAITING)
    messages = (
        sa.select(InvitationRow.batch_id)
        .where(
            InvitationRow.channel.in_(list(CHANNELS)),
            InvitationRow.priority.in_(_ANY_PRIORITY),
            InvitationRow.state == bulk.fixed(InvitationState.WAITING),
            InvitationRow.due_at <= now + SOON,
            InvitationRow.kind == FIRST,
        )
        .distinct()
    )
    with database.read() as connection:
        waiting = {batch_id for batch_id, _ in connection.execute(jobs)} | {*connection.execute(messages).scalars()}
        batches = sa.select(*BATCH_FACTS, Batch.last_row).where(Batch.id.in_(waiting), Batch.cancelled_at.is_(None))
        found = [row._asdict() for row in connection.execute(batches.order_by(Batch.id))]
        left = left_of(connection, [row["id"] for row in found])
    return [
        Unsent(
            BatchFacts(**{name: value for name, value in row.items() if name != "last_row"}),
            left.get(row["id"], 0),
            from_events=row["last_row"] is not None,
        )
        for row in found
    ]


def left_of(connection: sa.Connection, batch_ids: Collection[int]) -> dict[int, int]:
    """How many rows of each batch wait for their session or first message: what a pause holds back. Not among them are
    held rows, which wait for a person, and rows that another list's row serves: `BatchCounts.left` counts these too."""
    waits = sa.or_(
        COUNTED.state.in_([JobState.WAITING.value, JobState.WORKING.value]),
        sa.and_(COUNTED.state == JobState.ISSUED.value, COUNTED.channel != Channel.NONE.value),
    )
    left = sa.select(COUNTED.batch_id, ROWS.label("rows")).where(
        COUNTED.kind == Kind.JOB, COUNTED.batch_id.in_(batch_ids), waits
    )
    return {row.batch_id: row.rows for row in fetch(connection, left.group_by(COUNTED.batch_id).having(ROWS > 0))}


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
    with database.read() as connection:
        return waiting_now(connection)


def waiting_now(connection: sa.Connection) -> Waiting:
    """As `waiting`, in the caller's transaction."""
    paused = sa.select(Batch.id).where(Batch.pause_cause != "")
    alike = (COUNTED.kind, COUNTED.account, COUNTED.channel, COUNTED.reason)
    waits = (COUNTED.kind.in_([Kind.JOB.value, Kind.MESSAGE.value]), COUNTED.state == JobState.WAITING.value)
    query = sa.select(*alike).where(*waits, COUNTED.batch_id.not_in(paused)).group_by(*alike).having(ROWS > 0)
    names: set[str] = set()
    senders: dict[str, set[frozenset[str]]] = defaultdict(set)
    others: set[str] = set()
    for row in fetch(connection, query):
        if row.kind == Kind.MESSAGE:
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


def cut_off(database: Database) -> list[BatchFacts]:
    """The batches whose import is not complete, and that no person stopped, the oldest first."""
    query = sa.select(*BATCH_FACTS).where(
        Batch.imported_at.is_(None), Batch.cancelled_at.is_(None), Batch.purged_at.is_(None), Batch.pause_cause == ""
    )
    with database.read() as connection:
        return [BatchFacts(**row._asdict()) for row in connection.execute(query.order_by(Batch.id))]


def paused_themselves(database: Database) -> list[BatchFacts]:
    """The batches that paused themselves and were not resumed, the oldest first: also those with nothing left to send,
    whose failed rows would wait for the resume."""
    query = sa.select(*BATCH_FACTS).where(
        Batch.pause_cause == PauseCause.ITSELF.value, Batch.cancelled_at.is_(None), Batch.purged_at.is_(None)
    )
    with database.read() as connection:
        return [BatchFacts(**row._asdict()) for row in connection.execute(query.order_by(Batch.id))]


def of_other_accounts(database: Database, accounts: Collection[str]) -> dict[str, tuple[int, int]]:
    """The accounts of waiting rows that are not among these accounts: how many rows wait, and in which batch first."""
    waits = (COUNTED.kind == Kind.JOB, COUNTED.state == JobState.WAITING.value, COUNTED.account.not_in(accounts))
    return _by_name(database, COUNTED.account, COUNTED.batch_id, ROWS, *waits)


def of_other_channels(database: Database, channels: Collection[str]) -> dict[str, tuple[int, int]]:
    """The channels of waiting messages, reminders among them, that are not among these, as `of_other_accounts`."""
    others = [channel for channel in CHANNELS if channel not in channels]
    if not others:
        return {}
    waits = (InvitationRow.channel.in_(others), InvitationRow.state == bulk.fixed(InvitationState.WAITING))
    return _by_name(database, InvitationRow.channel, InvitationRow.batch_id, sa.func.count(), *waits)


def _by_name(
    database: Database,
    name: sa.ColumnElement[str] | InstrumentedAttribute[str],
    batch_id: sa.ColumnElement[int] | InstrumentedAttribute[int],
    number: sa.ColumnElement[int],
    *conditions: sa.ColumnElement[bool],
) -> dict[str, tuple[int, int]]:
    query = sa.select(name.label("name"), batch_id.label("batch_id"), number.label("rows")).where(*conditions)
    found: dict[str, tuple[int, int]] = {}
    with database.read() as connection:
        for row in fetch(connection, query.group_by(name, batch_id).having(number > 0).order_by(batch_id)):
            rows, first = found.get(row.name, (0, row.batch_id))
            found[row.name] = (rows + row.rows, first)
    return found


def held(database: Database) -> list[tuple[BatchFacts, int]]:
    """The batches with held rows, the oldest first, and how many."""
    held_rows = _jobs(JobState.HELD).subquery()
    query = sa.select(*BATCH_FACTS, held_rows.c.rows).join(held_rows, held_rows.c.batch_id == Batch.id)
    with database.read() as connection:
        found = [row._asdict() for row in connection.execute(query.order_by(Batch.id))]
    return [(BatchFacts(**{name: row[name] for name in row if name != "rows"}), row["rows"]) for row in found]


def _jobs(state: JobState) -> sa.Select[int, int]:
    """How many jobs of each batch are in this state, without those that joined a job of another list."""
    jobs = (COUNTED.kind == Kind.JOB, COUNTED.state == state.value)
    return sa.select(COUNTED.batch_id, ROWS.label("rows")).where(*jobs).group_by(COUNTED.batch_id).having(ROWS > 0)
