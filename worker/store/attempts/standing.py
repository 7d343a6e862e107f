"""How the rows of results stand when the results are written: read in one statement, which locks them."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from worker.domain.model.states import InvitationState, JobState
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.tables import Attempt, InvitationRow, Job

# Of an attempt: `id` and `outcome`; of its job or message: `state`, `fence` and the columns that the query names.
Standing = sa.Row[Any]


def standing(model: type[Job] | type[InvitationRow], of: sa.ColumnElement[bool], *columns: Any) -> sa.Select[Any]:
    """The query for `standing_of`. `of` joins the attempt to its job or message.

    The rows are locked in the order of their ids, as everywhere, and each attempt after its row. `key_share`: see
    `onboarding.job_from_messages`.
    """
    return (
        sa.select(Attempt.id, Attempt.outcome, model.state, model.fence, *columns)
        .join(model, of)
        .where(bulk.among(Attempt.id, "ids"))
        .order_by(model.id, Attempt.id)
        .with_for_update(key_share=True)
    )


def standing_of(
    connection: sa.Connection, query: sa.Select[Any], attempt_ids: Sequence[uuid.UUID]
) -> dict[int, Standing]:
    """The rows by the attempt's id, locked until the transaction ends.

    The id as a number: Python compares UUIDs slowly.
    """
    return {row.id.int: row for row in fetch(connection, query, {"ids": bulk.keys(attempt_ids)})}


def is_leased(row: Standing, fence: int) -> bool:
    """Whether the row was not claimed again since the claim with this fence."""
    return bool(row.fence == fence) and row.state in (JobState.WORKING, InvitationState.WORKING)
