"""How the rows of results stand when the results are written: read in one statement, which locks them.

A row that is still under the lease of its call has this call's attempt open: whatever closes the attempt writes the row
in the same transaction. So only the attempts of the other rows are read (`outcomes_of`).
"""

import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import Query, fetch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.model.states import InvitationState, JobState

# Of a job or a message: `id`, `state`, `fence` and the columns that the query names.
Standing = sa.Row[Any]


def standing(model: type[Job] | type[InvitationRow], *columns: Any) -> Query:
    """The query for `standing_of`.

    The rows are locked in the order of their ids, as everywhere. `key_share`: see `onboarding.job_from_messages`.
    """
    return Query(
        sa.select(model.id, model.state, model.fence, *columns)
        .where(bulk.among(model.id, "ids"))
        .order_by(model.id)
        .with_for_update(key_share=True)
    )


def standing_of(connection: sa.Connection, query: Query, ids: Iterable[Any]) -> list[Standing]:
    """The jobs or messages with these ids, locked until the transaction ends."""
    return query.fetch(connection, {"ids": bulk.keys(ids)})


_OUTCOMES = (
    sa.select(Attempt.id, Attempt.outcome)
    .where(bulk.among(Attempt.id, "ids"))
    .order_by(Attempt.id)
    .with_for_update(key_share=True)
)


def outcomes_of(connection: sa.Connection, attempt_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str | None]:
    """The outcomes of these attempts, locked until the transaction ends; None: the attempt is open.

    Their rows must be locked before.
    """
    return {row.id: row.outcome for row in fetch(connection, _OUTCOMES, {"ids": bulk.keys(attempt_ids)})}


def is_leased(row: Standing, fence: int) -> bool:
    """Whether the row was not claimed again since the claim with this fence."""
    return bool(row.fence == fence) and row.state in (JobState.WORKING, InvitationState.WORKING)
