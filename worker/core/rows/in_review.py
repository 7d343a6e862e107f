"""Customers whose verification is in review at the provider: they get no new session and no reminder."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.job_ids import Key, among_keys, rows_of
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import JobState, Result, SessionState

_Other = aliased(SessionRow)
# Whether the customer of a session is in review through another one for the same purpose, whatever list opened it.
OTHER_IN_REVIEW = sa.exists().where(
    _Other.customer_id == SessionRow.customer_id,
    _Other.purpose == SessionRow.purpose,
    _Other.id != SessionRow.id,
    _Other.past.is_(False),
    # Spelled so that the index of all reviews is not used: a customer has few sessions, and there may be many reviews.
    sa.func.lower(_Other.result) == Result.REVIEW.value,
)
_REVIEWED = sa.select(SessionRow.id).where(
    bulk.among(SessionRow.id, "sessions"), SessionRow.result == Result.REVIEW.value
)
_DECIDES = _REVIEWED.where(SessionRow.state != bulk.fixed(SessionState.SUPERSEDED))
_OTHERS_REVIEWED = sa.select(SessionRow.id).where(bulk.among(SessionRow.id, "sessions"), OTHER_IN_REVIEW)
_CUSTOMERS = sa.select(SessionRow.customer_id, SessionRow.purpose).where(
    *among_keys(SessionRow), sa.func.lower(SessionRow.result) == Result.REVIEW.value, SessionRow.past.is_(False)
)
_FOLLOW = bulk.Change(
    Job.id,
    {
        "state": sa.bindparam("new_state"),
        "session_id": sa.bindparam("new_session_id"),
        "due_at": None,
        "lease_until": None,
        "attempts": 0,
        "reason": sa.bindparam("why"),
        "detail": sa.bindparam("words"),
        "result": Result.REVIEW.value,
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def _among(connection: sa.Connection, query: sa.Select[Any], sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions that the query finds. Makes none if there are no sessions."""
    return set(connection.execute(query, {"sessions": bulk.keys(sessions)}).scalars()) if sessions else set()


def sessions_in_review(connection: sa.Connection, sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions that are in review."""
    return _among(connection, _REVIEWED, sessions)


def others_in_review(connection: sa.Connection, sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions whose customer is in review through another one, however many were opened since then."""
    return _among(connection, _OTHERS_REVIEWED, sessions)


def customers_in_review(connection: sa.Connection, keys: Collection[Key]) -> set[Key]:
    """Those of these customers who are in review, through whichever session. Makes no query if there are no keys."""
    return {(row.customer_id, row.purpose) for row in rows_of(connection, _CUSTOMERS, keys)}


def release_reviewed(connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, now: datetime) -> set[int]:
    """Release claimed jobs whose previous session is in review: that review decides. Returns their ids.

    A session that was given up is left out: nothing of it is sent or looked at any more.

    If the job waits when the review begins, the provider's update releases it (`session_chain`). If a dispatcher works
    the job at that time, the job waits again later, and its next claim calls this.
    """
    reviewed = _among(connection, _DECIDES, {row.session_id for row in rows} - {None})
    released = [row for row in rows if row.session_id in reviewed]
    follow_reviews(connection, [(row, row.session_id) for row in released], now=now)
    return {row.id for row in released}


def follow_reviews(
    connection: sa.Connection,
    jobs: Sequence[tuple[sa.Row[Any], uuid.UUID]],
    *,
    reason: str = "",
    detail: str = "",
    now: datetime,
) -> None:
    """Let each of these leased jobs follow its customer's session in review: no call, and no message.

    The customer has submitted, so the job is invited, even if the link came by the app; one that asks for no message is
    issued. A review that was left alone meanwhile is checked again: its list was cancelled, or its customer erased.
    """
    # Imported here: readers ask only who is in review.
    from onboarding_worker.core.rows.sessions import schedule_checks

    moves = [
        {
            "job_id": job.id,
            "new_state": JobState.ISSUED if job.channel is Channel.NONE else JobState.INVITED,
            "new_session_id": session_id,
        }
        for job, session_id in jobs
    ]
    _FOLLOW.run(connection, moves, why=reason, words=detail, at=now)
    schedule_checks(connection, [job.id for job, _ in jobs], now=now)
