"""Batches with rows that were not sent, which `run` names and leaves alone."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.fast.tally import CountOf
from worker.core.database.priorities import PAUSED, PRIORITIES
from worker.core.database.tables import Batch, InvitationRow
from worker.core.model.channels import CHANNELS
from worker.core.model.states import InvitationState, JobState
from worker.core.work.store.sessions import FIRST
from worker.lists.store.batches import BATCH_FACTS, BatchFacts
from worker.reporting.store.counting import COUNTED, ROWS

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
    jobs = jobs_in(JobState.WAITING)
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
        COUNTED.kind == CountOf.JOB, COUNTED.batch_id.in_(batch_ids), waits
    )
    return {row.batch_id: row.rows for row in fetch(connection, left.group_by(COUNTED.batch_id).having(ROWS > 0))}


def jobs_in(state: JobState) -> sa.Select[int, int]:
    """How many jobs of each batch are in this state, without those that joined a job of another list."""
    jobs = (COUNTED.kind == CountOf.JOB, COUNTED.state == state.value)
    return sa.select(COUNTED.batch_id, ROWS.label("rows")).where(*jobs).group_by(COUNTED.batch_id).having(ROWS > 0)
