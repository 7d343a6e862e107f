"""The rows that the rules read, all of one moment."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from trials.kept_counts import untrue_counts
from trials.lists.world import World
from worker.domain.contact.resends import is_resend
from worker.domain.model.states import InvitationState
from worker.store.base.priorities import HELD_BACK, PAUSED
from worker.store.onboarding.sessions import FIRST
from worker.store.tables import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow

Row = sa.Row[Any]
UNDER_WAY = (InvitationState.WAITING, InvitationState.WORKING)


@dataclass
class Seen:
    batches: dict[int, Row]
    jobs: dict[int, Row]
    sessions: dict[UUID, Row]
    messages: dict[UUID, Row]
    attempts: list[Row]
    untrue_counts: list[str]
    erased: set[str]  # customers
    lists_sessions: bool  # whether the provider can be asked what became of a session
    firsts: dict[tuple[int, UUID], list[Row]] = field(default_factory=lambda: defaultdict(list))

    def has_message_under_way(self, job: Row) -> bool:
        """Whether the first message about this job's session, or one that the desk sends again, has yet to leave."""
        return any(one.state in UNDER_WAY for one in self.firsts.get((job.id, job.session_id), ()))


def seen(world: World) -> Seen:
    with world.database.read() as connection:
        batches, jobs, sessions, messages, attempts = (
            list(connection.execute(sa.select(table.__table__).order_by(*table.__table__.primary_key)))
            for table in (Batch, Job, SessionRow, InvitationRow, Attempt)
        )
        no_person = sa.select(CustomerRow.customer_id).where(CustomerRow.encrypted.is_(None))
        erased = set(connection.execute(no_person).scalars())
        untrue = list(untrue_counts(connection))
    moment = Seen(
        {batch.id: batch for batch in batches},
        {job.id: job for job in jobs},
        {session.id: session for session in sessions},
        {message.id: message for message in messages},
        attempts,
        untrue,
        erased,
        world.setting.lists_sessions,
    )
    for message in messages:
        if message.kind == FIRST or is_resend(message.kind):
            moment.firsts[message.job_id, message.session_id].append(message)
    return moment


def of_job(job: Row) -> str:
    joins = f", joins {job.joins}" if job.joins is not None else ""
    reason = f", {job.reason}" if job.reason else ""
    return f"{job.customer_id} in list {job.batch_id} ({job.state.value}{reason}{joins})"


def of_message(message: Row) -> str:
    reason = f", {message.reason}" if message.reason else ""
    return f"{message.kind} by {message.channel} of row {message.job_id} ({message.state.value}{reason})"


def is_at_odds(row: Row, batch: Row) -> bool:
    """Whether this row goes on in a paused list, or does not in one that is not paused.

    A list that pauses itself is only marked: its rows follow at the next sweep, and those of a resume or a cancel that
    was cut off later. A row behind a pilot stays as it is.
    """
    marked = batch.changing_since is not None or (batch.pause_cause != "" and batch.paused_at is None)
    if marked or batch.purged_at is not None or row.priority >= HELD_BACK:
        return False
    return bool(row.priority >= PAUSED) != bool(batch.pause_cause)
