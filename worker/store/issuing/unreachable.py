"""Jobs that were taken and whose links nobody could be told of: they end before a session is paid for.

Asked as soon as a job is taken, whatever made it due. What is suppressed after that costs a session, and no message:
each message asks again when it is about to leave.
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
from worker.store.issuing import deferral as postponing
from worker.store.messages.suppression_check import reachable
from worker.store.onboarding.sessions import FIRST
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import InvitationRow, Job, SessionRow, Suppression

# For a query that is made anyway: whether anything is suppressed at all. As long as nothing is, nothing is asked.
ANY_SUPPRESSED: sa.ScalarSelect[bool] = sa.select(
    sa.exists(sa.select(sa.literal(1)).select_from(Suppression))
).scalar_subquery()

# Of these sessions, which ended unused, those that their customers were told of.
_TOLD = (
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
    """Whether a taken job asks for a session for the sake of a message alone.

    The first one of an event may be what its sender waits for: for somebody who is in the app right now.
    """
    awaited = row.priority == EVENT and row.session_id is None
    return not awaited and postponing.may_wait(row, now=now)


def unreachable(
    connection: sa.Connection,
    keyring: Keyring,
    rows: Sequence[sa.Row[Any]],
    people: Mapping[str, Person],
    *,
    fallback: str | None,
) -> dict[int, str]:
    """Those of these jobs that ask for a session for the sake of a message which could go to no address; and why, in
    words. One statement for all of them.

    Of whom no address is known, or who is not among `people`, nothing can be said here.
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
    """End jobs that this transaction has taken.

    One whose customer was told of a link, which then ended unused, has lapsed, as where the sweep finds that out; any
    other has failed, and a person may have it tried again.
    """
    ended = [row for row in rows if row.id in why]
    if not ended:
        return
    sessions = {row.session_id for row in ended if row.session_id is not None}
    told = set(connection.execute(_TOLD, {"sessions": bulk.keys(sessions)}).scalars()) if sessions else set()
    moves = [
        {"new_state": JobState.LAPSED, "new_detail": Reason.SUPPRESSED.meaning}
        if row.session_id in told
        else {"new_state": JobState.FAILED, "new_detail": why[row.id]}
        for row in ended
    ]
    _END.run(connection, [{"job_id": row.id, "at": now, **move} for row, move in zip(ended, moves, strict=True)])
    add_job_events(connection, [row.id for row in ended], now=now)
