"""What was done in a period, over the batches of all lists and events: by account, route and day.

What each figure counts is what a batch's report counts (`spending`), so a period has the sum of its batches. The
statements read the messages and the rows once. Calls are found by their ids, which begin with the time.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from worker.core.database.database import Database, fetch
from worker.core.database.tables import Attempt, Batch, InvitationRow, Job, SessionRow
from worker.core.foundation.ids import EPOCH, MILLISECOND
from worker.core.messages.contact import FIRST
from worker.core.model.states import JobState, Result
from worker.reporting.store.spending import CALL, COSTS, INVITES, OURS_TO_PAY, Figures, aware, begin_of

DAY = "day"


class Place(NamedTuple):
    """`account`: the one that was called; of a message or a customer, the one that serves the row. `day`: by UTC."""

    account: str
    route: str
    day: date


@dataclass(frozen=True)
class Period:
    """`purged`: how many batches began before the period's end and were purged since: their rows are not counted."""

    places: Mapping[Place, Figures]
    purged: int


def figures_of(database: Database, *, begins: datetime, ends: datetime) -> Period:
    """What was done from `begins` until before `ends`, both the beginning of a day."""
    places: dict[Place, Figures] = defaultdict(Figures)

    def figures(row: sa.Row[tuple[str, str, date]]) -> Figures:
        return places[Place(row.account, row.route, aware(row.day, DAY).date())]

    with database.read() as connection:
        for row in fetch(connection, _messages(connection, begins, ends)):
            found = figures(row)
            found.invited += row.invited
            if row.messages:
                found.messages[row.channel], found.charged[row.channel] = row.messages, row.charged
        for row in fetch(connection, _finished(connection, begins, ends)):
            found = figures(row)
            found.finished, found.verified = row.finished, row.verified
        for row in fetch(connection, _calls(connection, begins, ends)):
            figures(row).calls[row.account] = row.number
        purged = connection.execute(
            sa.select(sa.func.count()).where(Batch.created_at < ends, Batch.purged_at >= begins)
        ).scalar_one()
    return Period(places, purged)


def _messages(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    day = begin_of(connection, InvitationRow.sent_at, DAY)
    invites = sa.and_(InvitationRow.kind == FIRST, INVITES)
    return (
        sa.select(
            Job.account,
            Job.route,
            InvitationRow.channel,
            day.label("day"),
            _sum(invites).label("invited"),
            _sum(OURS_TO_PAY).label("messages"),
            _sum(OURS_TO_PAY, InvitationRow.segments).label("charged"),
        )
        .select_from(InvitationRow)
        .join(Job, Job.id == InvitationRow.job_id)
        .where(InvitationRow.sent_at >= begins, InvitationRow.sent_at < ends)
        .group_by(Job.account, Job.route, InvitationRow.channel, day)
    )


def _finished(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    at = sa.func.coalesce(SessionRow.update_at, Job.changed_at, type_=Job.changed_at.type)
    day = begin_of(connection, at, DAY)
    completed, approved = Job.state == JobState.COMPLETED, Job.result == Result.APPROVED
    return (
        sa.select(
            Job.account,
            Job.route,
            day.label("day"),
            _sum(completed).label("finished"),
            _sum(approved).label("verified"),
        )
        .join(SessionRow, SessionRow.id == Job.session_id)
        .where(Job.leader_id.is_(None), sa.or_(completed, approved), at >= begins, at < ends)
        .group_by(Job.account, Job.route, day)
    )


def _calls(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    day = begin_of(connection, Attempt.opened_at, DAY)
    return (
        sa.select(Attempt.account, Job.route, day.label("day"), sa.func.count().label("number"))
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.id >= _first_id(begins), Attempt.id < _first_id(ends), CALL, COSTS)
        .group_by(Attempt.account, Job.route, day)
    )


def _sum(condition: sa.ColumnElement[bool], what: object = 1) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, what), else_=0))


def _first_id(at: datetime) -> UUID:
    """No id of this time or later is smaller, and each of an earlier time is (`core.foundation.ids`)."""
    return UUID(int=(at - EPOCH) // MILLISECOND << 80)
