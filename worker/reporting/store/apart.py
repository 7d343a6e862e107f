"""The rows of a batch that wait for the end of a session, for a look-up, or for the row of another list.

They may wait for days while the rest of the batch is sent, so a forecast names them apart.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import Batch, Job
from worker.core.database.tables.work import DUE_AT, LEAD
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.reporting.store.counting import WAITS_FOR, WAITS_FOR_END

_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_AFTER = sa.bindparam("after", type_=Job.due_at.type)
# Sessions whose tokens were lost are counted as such (`unknown_outcomes`): their rows are due at the next look-up.
_IS_LOST = sa.and_(Job.reason == bulk.fixed(Reason.ORPHAN), Job.unknown_attempt.is_not(None))
_OWN = (
    sa.select(Job.reason, sa.func.count().label("rows"), sa.func.max(Job.due_at).label("last"))
    .where(Job.batch_id == _BATCH, *WAITS_FOR_END, Job.due_at > _AFTER, ~_IS_LOST)
    .group_by(Job.reason)
)
_JOINED = (
    sa.select(sa.func.count().label("rows"), sa.func.max(DUE_AT).label("last"))
    .select_from(Job)
    .join(LEAD, LEAD.id == Job.leader_id)
    .join(Batch, Batch.id == LEAD.batch_id)
    .where(
        of_batch(_BATCH),
        Job.leader_id.is_not(None),
        Batch.pause_cause == "",  # else they wait for a person (`BatchCounts.kept`)
        LEAD.state.in_([JobState.WAITING, JobState.WORKING]),
        WAITS_FOR == "",
        DUE_AT > _AFTER,
    )
)


@dataclass(frozen=True)
class Apart:
    """Rows that wait for the same, and when the last of them is due."""

    reason: str
    rows: int
    last: datetime


def due_after(connection: sa.Connection, batch_id: int, after: datetime) -> list[Apart]:
    """The rows that are due after this time, by reason."""
    given = {"batch": batch_id, "after": after}
    found = [Apart(row.reason, row.rows, row.last) for row in fetch(connection, _OWN, given)]
    joined = connection.execute(_JOINED, given).one()
    return [*found, Apart(Reason.JOINED_JOB, joined.rows, joined.last)] if joined.rows else found
