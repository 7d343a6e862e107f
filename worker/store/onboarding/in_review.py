"""Customers who have handed everything in, of whom the provider has not decided: they are asked for nothing more."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.model.states import InvitationState, JobState
from worker.domain.verification.session_updates import Result
from worker.store.base import bulk
from worker.store.onboarding.sessions import FIRST
from worker.store.tables import InvitationRow, Job, SessionRow

_REVIEWED = sa.select(SessionRow.id).where(
    bulk.among(SessionRow.id, "sessions"), SessionRow.result == Result.REVIEW.value
)
_TOLD = sa.select(InvitationRow.session_id).where(
    bulk.among(InvitationRow.session_id, "sessions"),
    InvitationRow.kind == FIRST,
    InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED]),
)
_BACK = bulk.Change(
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


def among_these(connection: sa.Connection, sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these sessions that are being reviewed. Asks nothing where there are none."""
    return set(connection.execute(_REVIEWED, {"sessions": bulk.keys(sessions)}).scalars()) if sessions else set()


def release_reviewed(connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, now: datetime) -> set[int]:
    """Of jobs that this transaction has taken to ask for a session in place of another, let go of those whose
    customers are in review by that one: it decides. Which they were.

    News of a review has a job that waits go back by itself (`session_chain`); it cannot while somebody works the job,
    who then lets it wait again. One whose last call is in doubt has that looked up first.
    """
    asked = {row.session_id for row in rows if row.session_id is not None and row.unknown_attempt is None}
    reviewed = among_these(connection, asked)
    back = [row for row in rows if row.session_id in reviewed and row.unknown_attempt is None]
    if not back:
        return set()
    told = set(connection.execute(_TOLD, {"sessions": bulk.keys(reviewed)}).scalars())
    states = [JobState.INVITED if row.session_id in told else JobState.ISSUED for row in back]
    _BACK.run(
        connection, [{"job_id": row.id, "new_state": state, "at": now} for row, state in zip(back, states, strict=True)]
    )
    return {row.id for row in back}
