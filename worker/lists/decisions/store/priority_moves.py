"""Moves the rows of a paused batch out of the priorities that workers claim, and back. A paused batch of a million rows
costs other batches nothing so. The rows are moved in chunks: no transaction is long."""

from collections.abc import Callable
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
Table = type[Job] | type[InvitationRow]
Rows = sa.Select[*tuple[Any, ...]]  # of one of these tables, with their ids
Changed = Callable[[int], None]  # gets the number of rows that each transaction has changed
_IS_PAUSED = Batch.pause_cause != ""
# All open rows, since reminders wait too. Failed ones too: one that is retried in a paused batch waits for the resume.
_OPEN_OR_FAILED = Job.state.in_([*OPEN_JOBS, JobState.FAILED])
_UNSENT = InvitationRow.state.in_((*OPEN_INVITATIONS, InvitationState.FAILED))


def pause_rows(database: Database, batch_id: int, *, changed: Changed) -> int:
    """Move the rows away while the batch stays paused; returns how many of the jobs this holds back."""
    jobs = _of_jobs(batch_id).where(Job.priority.in_(PRIORITIES), _OPEN_OR_FAILED)
    messages = _of_messages(batch_id).where(InvitationRow.priority.in_(PRIORITIES), _UNSENT)
    still = sa.select(Batch.id).where(Batch.id == batch_id, _IS_PAUSED)
    move = partial(_move, database, still=still, by=+PAUSED, changed=changed)
    # Messages first, because they do the harm; again at the end, for messages that jobs added in the meantime.
    move(InvitationRow, messages)
    moved = move(Job, jobs)
    move(InvitationRow, messages)
    return moved


def resume_rows(database: Database, batch_id: int, *, changed: Changed) -> int:
    """Move the rows back while the batch is not paused; returns how many of the jobs the pause held back."""
    # All that a pause moved, whatever became of it since: a person may have a row that lapsed, or a message that was
    # returned, go on. A pause meanwhile has its own move, which takes no row back.
    paused = [priority + PAUSED for priority in PRIORITIES]
    still = sa.select(Batch.id).where(Batch.id == batch_id, ~_IS_PAUSED)
    move = partial(_move, database, still=still, by=-PAUSED, changed=changed)
    moved = move(Job, _of_jobs(batch_id).where(Job.priority.in_(paused)))
    move(InvitationRow, _of_messages(batch_id).where(InvitationRow.priority.in_(paused)))
    return moved


def _of_jobs(batch_id: int) -> Rows:
    return sa.select(Job.id, Job.state, Job.channel).where(of_batch(batch_id))


def _of_messages(batch_id: int) -> Rows:
    return sa.select(InvitationRow.id).where(InvitationRow.batch_id == batch_id)


def _move(database: Database, table: Table, rows: Rows, *, still: sa.Select[int], by: int, changed: Changed) -> int:
    """Change these rows' priorities; returns how many jobs a pause holds back. Stops once `still` finds none."""
    chunk = rows.order_by(table.id).limit(CHUNK)
    counted, rest = 0, chunk
    while moved := outlive_deadlocks(partial(_move_chunk, database, table, rest, by, still)):
        counted += sum(map(_is_held_back, moved)) if table is Job else 0
        changed(len(moved))
        # From the last key, not from the start: skipping changed rows again for each chunk costs quadratic time.
        rest = chunk.where(table.id > moved[-1].id)
    return counted


def _is_held_back(job: sa.Row[Any]) -> bool:
    """Whether a pause holds the first invitation of an open job back, or its session if it wants no message."""
    out = job.state is JobState.INVITED or (job.state is JobState.ISSUED and job.channel is Channel.NONE)
    return not out and job.state in OPEN_JOBS


def _move_chunk(database: Database, table: Table, rows: Rows, by: int, still: sa.Select[int]) -> list[sa.Row[Any]]:
    with database.write() as connection:
        chunk = fetch(connection, rows.with_for_update())
        # The batch stays locked until the chunk is changed: a resume then sees every change. It is locked after the
        # rows, in the order in which results are written.
        if not chunk or not fetch(connection, still.with_for_update(read=True)):
            return []
        ids = [row.id for row in chunk]
        connection.execute(sa.update(table).values(priority=table.priority + by).where(table.id.in_(ids)))
        if by < 0 and table is Job:
            let_go(connection, ids)
    return chunk
