"""Moves the rows of a paused batch out of the priorities that workers claim, and back.

A paused batch of a million rows costs other batches nothing so. The rows are moved in chunks: no transaction is long.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.customers.store.pending_details import let_go
from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.outages import outlive_deadlocks
from worker.core.database.tables import Batch, InvitationRow, Job
from worker.core.model.states import OPEN_INVITATIONS, OPEN_JOBS, PAUSED, PRIORITIES, InvitationState, JobState

CHUNK = 2000
Changed = Callable[[int], None]  # gets the number of rows that each transaction has changed
_PAUSED = [priority + PAUSED for priority in PRIORITIES]
_IS_PAUSED = Batch.pause_cause != ""


def pause_rows(database: Database, batch_id: int, *, changed: Changed) -> int:
    """Move the rows away while the batch stays paused; returns how many of the jobs this holds back."""
    # Messages first, because they do the harm; again at the end, for messages that jobs added in the meantime.
    _move(database, _MESSAGES, batch_id, PRIORITIES, +PAUSED, only_while=_IS_PAUSED, changed=changed)
    moved = _move(database, _JOBS, batch_id, PRIORITIES, +PAUSED, only_while=_IS_PAUSED, changed=changed)
    _move(database, _MESSAGES, batch_id, PRIORITIES, +PAUSED, only_while=_IS_PAUSED, changed=changed)
    return moved


def resume_rows(database: Database, batch_id: int, *, changed: Changed) -> int:
    """Move the rows back while the batch is not paused; returns how many of the jobs the pause held back."""
    # A pause meanwhile has its own move, which takes no row back.
    rows = _move(database, _PAUSED_JOBS, batch_id, _PAUSED, -PAUSED, only_while=~_IS_PAUSED, changed=changed)
    _move(database, _PAUSED_MESSAGES, batch_id, _PAUSED, -PAUSED, only_while=~_IS_PAUSED, changed=changed)
    return rows


@dataclass(frozen=True)
class _Moved:
    """A table, and the rows of it whose priority a pause changes."""

    table: type[Job] | type[InvitationRow]
    rows: sa.Select[*tuple[Any, ...]]
    of_batch: Callable[[int], sa.ColumnElement[bool]]
    is_counted: Callable[[sa.Row[Any]], bool] = lambda _row: True


def _is_held_back(job: sa.Row[Any]) -> bool:
    """Whether a pause holds the first invitation of an open job back, or its session if it wants no message."""
    out = job.state is JobState.INVITED or (job.state is JobState.ISSUED and job.channel is Channel.NONE)
    return not out and job.state in OPEN_JOBS


_A_JOB = sa.select(Job.id, Job.state, Job.channel)
# All open rows, since reminders wait too. Failed rows as well: a row that is retried in a paused batch must wait until
# the resume.
_JOBS = _Moved(
    Job,
    _A_JOB.where(Job.state.in_([*OPEN_JOBS, JobState.FAILED])),
    of_batch,
    _is_held_back,
)
_UNSENT = (*OPEN_INVITATIONS, InvitationState.FAILED)
_MESSAGES = _Moved(
    InvitationRow,
    sa.select(InvitationRow.id).where(InvitationRow.state.in_(_UNSENT)),
    lambda batch_id: InvitationRow.batch_id == batch_id,
)
# All that a pause moved, whatever became of it since: a person may have a row that lapsed, or a message that was
# returned, go on.
_PAUSED_JOBS = replace(_JOBS, rows=_A_JOB)
_PAUSED_MESSAGES = replace(_MESSAGES, rows=sa.select(InvitationRow.id))


def _move(
    database: Database,
    what: _Moved,
    batch_id: int,
    of: Collection[int],
    by: int,
    *,
    only_while: sa.ColumnElement[bool],
    changed: Changed,
) -> int:
    """Change the priorities `of` the batch's rows; returns how many rows count. Stops when `only_while`, a condition on
    the batch, no longer holds."""
    rows = what.rows.where(what.of_batch(batch_id), what.table.priority.in_(list(of)))
    chunk = rows.order_by(what.table.id).limit(CHUNK)
    still = sa.select(Batch.id).where(Batch.id == batch_id, only_while)
    counted, rest = 0, chunk
    while moved := outlive_deadlocks(partial(_move_chunk, database, what, rest, by, still)):
        counted += sum(map(what.is_counted, moved))
        changed(len(moved))
        # From the last key, not from the start: skipping changed rows again for each chunk costs quadratic time.
        rest = chunk.where(what.table.id > moved[-1].id)
    return counted


def _move_chunk(
    database: Database, what: _Moved, rows: sa.Select[*tuple[Any, ...]], by: int, still: sa.Select[int]
) -> list[sa.Row[Any]]:
    with database.write() as connection:
        chunk = fetch(connection, rows.with_for_update())
        # The batch stays locked until the chunk is changed: a resume then sees every change. It is locked after the
        # rows, in the order in which results are written.
        if not chunk or not fetch(connection, still.with_for_update(read=True)):
            return []
        shift = sa.update(what.table).values(priority=what.table.priority + by)
        ids = [row.id for row in chunk]
        connection.execute(shift.where(what.table.id.in_(ids)))
        if by < 0 and what.table is Job:
            let_go(connection, ids)
    return chunk
