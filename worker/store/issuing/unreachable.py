"""Claimed jobs whose links could not be sent to any address. They end before a session is paid for.

The check runs at each claim, whatever made the job due. An address that is suppressed after the check costs a session
but no message: each message is checked again before it is sent.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.fallback_channel import writable
from worker.domain.contact.suppression import DETAILS
from worker.domain.model.customers import Person, invitation_channels
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.priorities import EVENT
from worker.store.issuing import deferral
from worker.store.messages.suppression_check import reachable
from worker.store.onboarding.sessions import FIRST
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import InvitationRow, Job, SessionRow, Suppression

# Whether any address at all is suppressed, as a part of another query. If none is, no further query is made.
ANY_SUPPRESSED: sa.ScalarSelect[bool] = sa.select(
    sa.exists(sa.select(sa.literal(1)).select_from(Suppression))
).scalar_subquery()

# The expired sessions among these whose links were sent to their customers.
_LINK_SENT = (
    sa.select(InvitationRow.session_id)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(
        bulk.among(InvitationRow.session_id, "sessions"),
        InvitationRow.kind == FIRST,
        InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED]),
        SessionRow.state == SessionState.EXPIRED,
    )
)
_END = bulk.Change(
    Job.id,
    {
        "state": sa.bindparam("new_state"),
        "due_at": None,
        "lease_until": None,
        "reason": Reason.SUPPRESSED,
        "detail": sa.bindparam("new_detail"),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def may_end(row: sa.Row[Any], *, now: datetime) -> bool:
    """True if a claimed job needs its session only for a message.

    The sender of an event may wait for the first session, for a customer who is in the app right now.
    """
    awaited = row.priority == EVENT and row.session_id is None
    return not awaited and deferral.may_wait(row, now=now)


def unreachable(
    connection: sa.Connection,
    keyring: Keyring,
    rows: Sequence[sa.Row[Any]],
    people: Mapping[str, Person],
    *,
    fallback: str | None,
) -> dict[int, str]:
    """By job: why its message could not be sent to any address, as text. One statement for all jobs.

    A customer without a known address, or who is not in `people`, is left out.
    """
    asked = {channel for row in rows for channel in invitation_channels(row.channel)}
    ways = reachable(connection, keyring, people, asked | ({fallback} if fallback is not None else set()))
    found = {}
    for row in rows:
        channels, suppressed = invitation_channels(row.channel), ways.get(row.customer_id, {})
        reasons = [reason for channel in channels if (reason := suppressed.get(channel)) is not None]
        if reasons and not writable(channels, fallback, suppressed):
            found[row.id] = "; ".join(dict.fromkeys(DETAILS[reason] for reason in reasons))
    return found


def end(connection: sa.Connection, rows: Collection[sa.Row[Any]], why: Mapping[int, str], *, now: datetime) -> None:
    """End jobs that this transaction has claimed.

    A job whose customer got a link that ended unused has lapsed, as when the sweep finds this. Any other job has
    failed, and an operator may retry it.
    """
    ended = [row for row in rows if row.id in why]
    if not ended:
        return
    sessions = {row.session_id for row in ended if row.session_id is not None}
    sent = set(connection.execute(_LINK_SENT, {"sessions": bulk.keys(sessions)}).scalars()) if sessions else set()
    moves = [
        {"new_state": JobState.LAPSED, "new_detail": Reason.SUPPRESSED.meaning}
        if row.session_id in sent
        else {"new_state": JobState.FAILED, "new_detail": why[row.id]}
        for row in ended
    ]
    _END.run(connection, [{"job_id": row.id, "at": now, **move} for row, move in zip(ended, moves, strict=True)])
    add_job_events(connection, [row.id for row in ended], now=now)
