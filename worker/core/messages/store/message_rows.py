"""The rows of messages, and the state of a job as it follows from its messages.

A new message waits, without a lease; one that another job gets takes its attempts along.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.fast import tally
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.facts import STOPPED, JobsStopped, happened
from worker.core.foundation.ids import new_id
from worker.core.messages.contact import FIRST
from worker.core.model.reasons import ABOUT_ANOTHER, Reason
from worker.core.model.states import InvitationState, JobState, job_state_from_invitations

# A job's state follows the first messages of its current session. Reminders and superseded links do not count.
OF_ITS_SESSION = sa.and_(
    InvitationRow.job_id == Job.id, InvitationRow.session_id == Job.session_id, InvitationRow.kind == FIRST
)
# A held job is held because of its messages, unless its own call has an unknown outcome or a look-up found a session.
ABOUT_A_MESSAGE = (Job.unknown_attempt.is_(None), Job.reason.not_in(ABOUT_ANOTHER))
# The held first messages that a person must decide about: never a reminder or a message of an earlier session.
HELD_FIRST = sa.and_(OF_ITS_SESSION, InvitationRow.state == InvitationState.HELD, *ABOUT_A_MESSAGE)
NONE_SENT: Mapping[int, uuid.UUID] = MappingProxyType({})
# The second message of an invited job may still get an unknown outcome. `IN` does not work with a chunk of rows.
FROM = (JobState.ISSUED, JobState.INVITED)
MOVED = sa.or_(*(Job.state == state for state in FROM))
_FIRST_MESSAGES = sa.select(sa.func.count()).select_from(InvitationRow).where(OF_ITS_SESSION).scalar_subquery()
# `key_share`, here and wherever results are written: the lock that the UPDATE takes itself, and no stronger.
_LOCKED = (
    sa.select(
        *(Job.id, Job.state, Job.session_id, Job.batch_id, Job.account, Job.channel, Job.result),
        _FIRST_MESSAGES.label("first_messages"),
    )
    .where(bulk.among(Job.id, "ids"))
    .order_by(Job.id)
    .with_for_update(key_share=True)
)
_MESSAGES = (
    sa.select(InvitationRow.job_id, InvitationRow.state, InvitationRow.reason, InvitationRow.detail)
    .join(Job, OF_ITS_SESSION)
    .where(bulk.among(InvitationRow.job_id, "ids"))
    .order_by(InvitationRow.created_at)
)
_MOVE = bulk.Change(
    Job.id,
    bulk.new("state", "reason", "detail")
    | {"changed_at": sa.bindparam("at"), "counted": Job.counted + sa.bindparam("counts")},
    MOVED,
    by="job_id",
)


def waiting_message(
    *,
    id_: uuid.UUID | None = None,
    session_id: uuid.UUID,
    job_id: int,
    batch_id: int,
    channel: str,
    kind: str,
    due_at: datetime,
    priority: int,
    now: datetime,
) -> dict[str, Any]:
    """The values of a new invitation, due at `due_at` (aware UTC). The id is always the left part of its Message-ID."""
    return {
        "id": id_ or new_id(now),
        "session_id": session_id,
        "job_id": job_id,
        "batch_id": batch_id,
        "channel": channel,
        "kind": kind,
        "state": InvitationState.WAITING,
        "due_at": due_at,
        "priority": priority,
        "lease_until": None,
        "lease_owner": "",
        "fence": 0,
        "attempts": 0,
        "waits": 0,
        "unknown_handovers": 0,
        "reason": "",
        "detail": "",
        "reference": "",
        "created_at": now,
        "sent_at": None,
    }


def why_later(due_at: datetime, *, wanted_at: datetime) -> str:
    """The reason of a new message that is due later than it is wanted: only quiet hours put one off."""
    return Reason.QUIET_HOURS if due_at > wanted_at else ""


def move_messages(
    connection: sa.Connection, which: sa.ColumnElement[bool], job_id: int, *, batch_id: int | None, **values: Any
) -> None:
    """Let another job own these messages, with `values` for their other columns. `batch_id` None: they stay, and are
    counted, in their own batch.

    Their attempts go with them. All that asks for the attempts of a message asks by its job: an attempt that stayed
    behind would not be found when its worker dies, and the message would be handed over again.
    """
    locked = sa.select(InvitationRow.id, InvitationRow.job_id).where(which).order_by(InvitationRow.id).with_for_update()
    rows = fetch(connection, locked)
    if not rows:
        return
    ids = [row.id for row in rows]
    owner = {"job_id": job_id} | ({"batch_id": batch_id} if batch_id is not None else {})
    connection.execute(sa.update(InvitationRow).where(InvitationRow.id.in_(ids)).values(owner | values))
    theirs = (Attempt.job_id.in_({row.job_id for row in rows}), Attempt.invitation_id.in_(ids))
    connection.execute(sa.update(Attempt).where(*theirs).values(owner))


def set_job_states(
    connection: sa.Connection, job_ids: Iterable[int], *, sent: Mapping[int, uuid.UUID] = NONE_SENT, now: datetime
) -> None:
    """Set the jobs' states from their invitations. The last invitation that explains the state gives the reason.

    `sent`: by job, the session whose first message this transaction has written down as sent.
    """
    ids = sorted(set(job_ids))
    # Without the lock, two transactions that write a job's email and its text at the same time would each see the other
    # message still unfinished, and neither would change the job. The lock needs a statement of its own: a statement
    # that waits for a lock reads the rows as they were before the wait.
    before = {row.id: row for row in fetch(connection, _LOCKED, {"ids": bulk.keys(ids)})}
    # Most jobs have one message. If it was sent, it alone decides; one that was added meanwhile is still to be sent.
    alone = {id_ for id_ in sent if before[id_].session_id == sent[id_] and before[id_].first_messages == 1}
    moves = [_move(id_, JobState.INVITED) for id_ in alone]
    if others := [id_ for id_ in ids if id_ not in alone]:
        moves += _moves_from_messages(connection, others)
    moved = [move for move in moves if before[move["job_id"]].state in FROM]
    counts = tally.counts_in_bulk(len(moved))
    if counts:
        _count(connection, before, moved)
    _MOVE.run(connection, moved, at=now, counts=counts)
    if stopped := [move["job_id"] for move in moved if move["new_state"] in STOPPED]:
        happened(connection, JobsStopped(stopped), now=now)


def _moves_from_messages(connection: sa.Connection, job_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The moves of these locked jobs, by all first messages of their sessions."""
    by_job: dict[int, list[sa.Row[Any]]] = {}
    for row in fetch(connection, _MESSAGES, {"ids": bulk.keys(job_ids)}):
        by_job.setdefault(row.job_id, []).append(row)
    for job_id, rows in by_job.items():
        state = job_state_from_invitations([row.state for row in rows])
        if state is None:
            continue
        # Message states and job states have the same names: a held job has the reason of its held message.
        why = [row for row in rows if row.reason and row.state.value == state.value]
        if state is JobState.FAILED and not why:
            why = [row for row in rows if row.reason]
        if state is JobState.FAILED and (spent := [row for row in rows if row.reason == Reason.MESSAGES_SPENT]):
            state, why = JobState.LAPSED, spent  # a retry would end in the same way
        yield _move(job_id, state, why[-1] if why else None)


def _move(job_id: int, state: JobState, why: sa.Row[Any] | None = None) -> dict[str, Any]:
    """`why`: the message that gives the reason."""
    reason, detail = (why.reason, why.detail) if why is not None else ("", "")
    return {"job_id": job_id, "new_state": state, "new_reason": reason, "new_detail": detail}


def _count(connection: sa.Connection, before: Mapping[int, Any], moves: Iterable[Mapping[str, Any]]) -> None:
    """Count the jobs, which have a session before and after."""
    counts = tally.of(connection)
    alike = Counter((*_COUNTED(before[move["job_id"]]), move["new_state"], move["new_reason"]) for move in moves)
    for (state, *values, new_state, new_reason), number in alike.items():
        batch_id, account, channel, result = values
        counts.add(tally.job(batch_id, state, channel, account, result), -number, sessions=-number)
        counts.add(tally.job(batch_id, new_state, channel, account, result, new_reason), number, sessions=number)


_COUNTED = attrgetter("state", "batch_id", "account", "channel", "result")
