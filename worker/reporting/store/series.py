"""When the rows of a batch moved on: how many in each minute or each hour."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.core.database.database import fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.leases import NOT_SENT
from worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from worker.core.model.states import JobState, SessionState
from worker.core.work.store.attempt_log import DONE
from worker.core.work.store.sessions import FIRST

Points = list[tuple[datetime, int]]
# A column with a time, and the rows that have it.
Series = Mapping[str, tuple[Any, sa.Select[*tuple[Any, ...]]]]
# The characters of a time in SQLite that say its unit, and what completes them again.
_WRITTEN = {"hour": (13, ":00"), "minute": (16, "")}
_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_OURS = of_batch(_BATCH)
_CALL = sa.and_(Attempt.invitation_id.is_(None), Attempt.reconciles.is_(None), Attempt.closed_at.is_not(None))

_EARLIER = aliased(InvitationRow)
# The first of a customer's messages: by email and by text, or with the link of another session, it is one invitation.
_INVITES = ~sa.exists().where(
    _EARLIER.job_id == InvitationRow.job_id, _EARLIER.kind == FIRST, _EARLIER.sent_at < InvitationRow.sent_at
)

PROGRESS: Series = {
    "invited": (
        InvitationRow.sent_at,
        sa.select()
        .select_from(InvitationRow)
        .where(
            InvitationRow.batch_id == _BATCH, InvitationRow.kind == FIRST, InvitationRow.sent_at.is_not(None), _INVITES
        ),
    ),
    "finished": (
        sa.func.coalesce(SessionRow.update_at, Job.changed_at),
        sa.select()
        .select_from(Job)
        .join(SessionRow, SessionRow.id == Job.session_id)
        .where(_OURS, Job.joins.is_(None), Job.state == JobState.COMPLETED),
    ),
}
WORK: Series = {
    "issued": (
        SessionRow.issued_at,
        sa.select()
        .select_from(Job)
        .join(SessionRow, SessionRow.job_id == Job.id)
        .where(_OURS, SessionRow.state != SessionState.UNBOUGHT),
    ),
    "invited": PROGRESS["invited"],
    "refused": (
        Attempt.closed_at,
        sa.select()
        .select_from(Job)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(_OURS, _CALL, Attempt.outcome.not_in((DONE, NOT_SENT))),
    ),
    "finished": PROGRESS["finished"],
}


def points_of(connection: sa.Connection, series: Series, batch_id: int, *, unit: str) -> dict[str, Points]:
    """By name, the numbers of each unit (aware UTC) in which something happened, in order. `unit`: hour or minute."""
    found = {}
    for name, (column, query) in series.items():
        begins = _begin_of(connection, column, unit)
        counted = query.add_columns(begins.label("begins"), sa.func.count().label("number"))
        rows = fetch(connection, counted.group_by(begins).order_by(begins), {"batch": batch_id})
        found[name] = [(_aware(row.begins, unit), row.number) for row in rows]
    return found


def _begin_of(connection: sa.Connection, column: Any, unit: str) -> sa.ColumnElement[Any]:
    """The unit that a time is in, as each database cuts it."""
    if connection.dialect.name == "sqlite":
        return sa.func.substr(sa.cast(column, sa.String), 1, _WRITTEN[unit][0], type_=sa.String)
    return sa.func.date_trunc(sa.literal_column(f"'{unit}'"), column)


def _aware(begins: Any, unit: str) -> datetime:
    at = datetime.fromisoformat(f"{begins}{_WRITTEN[unit][1]}") if isinstance(begins, str) else begins
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
