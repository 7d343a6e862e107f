"""Customers whose verification is in review at the provider: they get no new session and no reminder."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.states import InvitationState, JobState
from worker.domain.verification.session_updates import Result
from worker.store.base import bulk
from worker.store.onboarding.sessions import FIRST, schedule_checks
from worker.store.tables import InvitationRow, Job, SessionRow

_Other = aliased(SessionRow)
# Whether the customer of a session is in review through another one: one of the same job, or the one that it replaced.
OTHER_IN_REVIEW = sa.exists().where(
    sa.or_(_Other.job_id == SessionRow.job_id, _Other.id == SessionRow.replaces),
    _Other.id != SessionRow.id,
    _Other.result == Result.REVIEW.value,
)
_REVIEWED = sa.select(SessionRow.id).where(
    bulk.among(SessionRow.id, "sessions"), SessionRow.result == Result.REVIEW.value
)
_OTHERS_REVIEWED = sa.select(SessionRow.id).where(bulk.among(SessionRow.id, "sessions"), OTHER_IN_REVIEW)
_LINK_SENT = sa.select(InvitationRow.session_id).where(
    bulk.among(InvitationRow.session_id, "sessions"),
    InvitationRow.kind == FIRST,
    InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED]),
)
_RELEASE = bulk.Change(
    Job.id,
    {
        "state": sa.bindparam("new_state"),
        "due_at": None,
        "lease_until": None,
        "attempts": 0,
        "reason": "",
        "detail": "",
        "result": Result.REVIEW.value,
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def sessions_in_review(connection: sa.Connection, sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions that are in review. Makes no query if there are no sessions."""
    return set(connection.execute(_REVIEWED, {"sessions": bulk.keys(sessions)}).scalars()) if sessions else set()


def others_in_review(connection: sa.Connection, sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions whose customer is in review through another one, however many were opened since then.

    Makes no query if there are no sessions.
    """
    found = connection.execute(_OTHERS_REVIEWED, {"sessions": bulk.keys(sessions)}).scalars() if sessions else ()
    return set(found)


def release_reviewed(connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, now: datetime) -> set[int]:
    """Release claimed jobs whose previous session is in review: that review decides. Returns their ids.

    If the job waits when the review begins, the provider's update releases it (`session_chain`). If a dispatcher works
    the job at that time, the job waits again later, and its next claim calls this. A review that was left alone
    meanwhile is checked again: its customer was erased, and has come back.
    """
    reviewed = sessions_in_review(connection, {row.session_id for row in rows})
    released = [row for row in rows if row.session_id in reviewed]
    if not released:
        return set()
    sent = set(connection.execute(_LINK_SENT, {"sessions": bulk.keys(reviewed)}).scalars())
    states = [JobState.INVITED if row.session_id in sent else JobState.ISSUED for row in released]
    _RELEASE.run(
        connection,
        [{"job_id": row.id, "new_state": state, "at": now} for row, state in zip(released, states, strict=True)],
    )
    ids = {row.id for row in released}
    schedule_checks(connection, ids, now=now)
    return ids
