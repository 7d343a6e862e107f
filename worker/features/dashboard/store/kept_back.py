"""The customers who are not invited yet, by what their rows wait for. Read from the kept counts, and the sessions that
end within the hour through an index: the cost does not grow with what was sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.fast.tally import CountOf
from worker.core.database.tables import Batch, Job, SessionRow
from worker.core.database.tables.types import word_of
from worker.core.model.states import UNSENT_JOBS, JobState, SessionState
from worker.reporting.store.counting import COUNTED, ROWS

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class KeptBack:
    """Rows of one batch, account and channel. `is_open`: their sessions are, so that their messages alone wait; of
    these, `ending` sessions end within the hour."""

    batch_id: int
    is_paused: bool
    account: str
    channels: tuple[str, ...]
    is_open: bool
    rows: int
    ending: int


def kept_back(database: Database, *, now: datetime) -> list[KeptBack]:
    """The rows of all batches, but those without a message of ours."""
    alike = (COUNTED.batch_id, COUNTED.account, COUNTED.channel, COUNTED.state, Batch.pause_cause)
    rows = (
        sa.select(*alike, ROWS.label("rows"))
        .join(Batch, Batch.id == COUNTED.batch_id)
        .where(
            COUNTED.kind == CountOf.JOB,
            COUNTED.state.in_([state.value for state in UNSENT_JOBS]),
            COUNTED.channel != Channel.NONE.value,
            Batch.cancelled_at.is_(None),
        )
        .group_by(*alike)
        .having(ROWS > 0)
    )
    ends = (
        sa.select(Job.batch_id, Job.account, Job.channel, sa.func.count().label("rows"))
        .join(SessionRow, sa.and_(SessionRow.job_id == Job.id, SessionRow.id == Job.session_id))
        .where(
            sa.func.length(SessionRow.encrypted) > sa.literal_column("0"),  # in the words of the index
            SessionRow.expires_at.between(now, now + HOUR),
            SessionRow.state == SessionState.WAITING,
            Job.state == bulk.fixed(JobState.ISSUED),
        )
        .group_by(Job.batch_id, Job.account, Job.channel)
    )
    with database.read() as connection:
        ending = {(row.batch_id, row.account, str(row.channel)): row.rows for row in fetch(connection, ends)}
        return [_of(row, ending.get((row.batch_id, row.account, row.channel), 0)) for row in fetch(connection, rows)]


def _of(row: Any, ending: int) -> KeptBack:
    channels = tuple(map(str, invitation_channels(word_of(Channel, row.channel))))
    is_open = row.state == JobState.ISSUED
    paused = bool(row.pause_cause)
    return KeptBack(row.batch_id, paused, row.account, channels, is_open, row.rows, ending if is_open else 0)
