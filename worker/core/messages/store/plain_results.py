"""Plain results of hand-overs: most of all results, written in few statements."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.database import bulk, tally
from worker.core.database.columns import Columns
from worker.core.database.job_ids import batch_of
from worker.core.database.tables import InvitationRow
from worker.core.database.tables.types import REFERENCE_LENGTH
from worker.core.messages.store.handovers import InviteResult
from worker.core.messages.store.message_context import InvitationPolicy
from worker.core.messages.wording import Wording
from worker.core.model.endings import Done
from worker.core.model.states import InvitationState
from worker.core.work.store.attempt_log import CLOSE_DONE
from worker.core.work.store.sessions import FIRST

# The database checks in the same statement whether the lease is still ours.
_SENT = bulk.ChangeIf(
    InvitationRow.id,
    {
        "state": InvitationState.SENT,
        "due_at": None,
        "lease_until": None,
        "delivery_at": None,
        "attempts": InvitationRow.attempts + 1,
        "reason": "",
        "detail": "",
        "reference": sa.bindparam("new_reference"),
        "sent_at": sa.bindparam("at"),
        "new_link": sa.bindparam("has_new_link"),
        "template": sa.bindparam("new_template"),
        "segments": sa.bindparam("new_segments"),
        "unknown_attempt": None,
        "counted": InvitationRow.counted + sa.bindparam("counts"),
    },
    InvitationRow.state == bulk.fixed(InvitationState.WORKING),
    by="invitation_id",
    equal={"fence": InvitationRow.fence},
    returning=[InvitationRow.job_id],
)


def may_be_plain(result: InviteResult) -> bool:
    """True for a message that left by an ordinary hand-over. It is plain if its lease is still ours.

    All other results are special: a problem, a look-up, a late receipt.
    """
    return isinstance(result.ending, Done) and result.opened.invitation.unknown_call is None


def write_plain(
    connection: sa.Connection, policy: InvitationPolicy, results: Sequence[InviteResult], *, now: datetime
) -> tuple[list[InviteResult], dict[uuid.UUID, int]]:
    """Write the results that are plain, of one or more that may be. Returns them, and the jobs of their messages."""
    counts = tally.pays(len(results))
    items = sorted(results, key=lambda item: item.opened.invitation.id)  # locked in the order of their ids, as all rows
    messages = [item.opened.invitation for item in items]
    moves: Columns = {
        "invitation_id": [message.id for message in messages],
        "fence": [message.fence for message in messages],
        "new_reference": [item.reference[:REFERENCE_LENGTH] for item in items],
        "has_new_link": [message.wording is Wording.NEW_LINK for message in messages],
        "new_template": [item.template for item in items],
        "new_segments": [item.segments for item in items],
    }
    moved = {(row.id, row.fence): row.job_id for row in _SENT.changed(connection, moves, at=now, counts=counts)}
    plain = [item for item, message in zip(items, messages, strict=True) if (message.id, message.fence) in moved]
    jobs = {id_: job_id for (id_, _), job_id in moved.items()}
    if plain:
        if counts:
            _count(connection, policy.channel, plain, jobs)
        # Calls to senders are not counted (`tally.call`).
        closed = {"attempt_id": [item.opened.attempt_id for item in plain]}
        CLOSE_DONE.run_columns(connection, closed, at=now, counts=0)
    return plain, jobs


def _count(
    connection: sa.Connection, channel: str, results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]
) -> None:
    """Count first messages that have left, with their jobs by now."""
    counts = tally.of(connection)
    first = (item.opened.invitation for item in results if item.opened.invitation.kind == FIRST)
    for batch_id, number in Counter(batch_of(jobs[item.id]) for item in first).items():
        counts.add(tally.message(batch_id, InvitationState.WORKING, channel), -number)
        counts.add(tally.message(batch_id, InvitationState.SENT, channel), number)
