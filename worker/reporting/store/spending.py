"""What a batch has cost, and when its rows moved on, in each minute or hour; and what was done in a period, over the
batches of all lists and events, by account, route and day. A period has the sum of its batches.

Nothing is kept for them: a report is read rarely, and reads each row once anyway. Calls of a period are found by their
ids, which begin with the time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.tables import Attempt, Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.foundation.clock import EPOCH, MILLISECOND
from onboarding_worker.core.foundation.notation import as_utc
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import DONE, NOT_SENT, JobState, Result, SessionState
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.limits import COST_NOTHING
from onboarding_worker.core.work.store.call_costs import not_carried_out

Points = list[tuple[datetime, int]]
# A column with a time, and the rows that have it.
Series = Mapping[str, tuple[Any, sa.Select[*tuple[Any, ...]]]]
# The characters of a time in SQLite that say its unit, and what completes them again.
_WRITTEN = {"day": (10, ""), "hour": (13, ":00"), "minute": (16, "")}
_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_OURS = of_batch(_BATCH)
CALL = sa.and_(Attempt.invitation_id.is_(None), Attempt.reconciles.is_(None), Attempt.closed_at.is_not(None))
COSTS = sa.and_(Attempt.outcome.not_in(COST_NOTHING), ~not_carried_out())
_SURE = Attempt.outcome.in_((DONE, Kind.SHORT_LIVED.value))
# Of the calls that cost a credit, or may have: those that brought no session.
LOST = sa.func.sum(sa.case((_SURE, 0), else_=1)).label("lost")
OURS_TO_PAY = InvitationRow.reason != Reason.SENT_BY_PROVIDER

_EARLIER = aliased(InvitationRow)
# The first of a customer's messages: by email and by text, or with the link of another session, it is one invitation.
# What another tool has sent, with a session that no call of ours opened, is none.
INVITES = sa.and_(
    ~sa.exists().where(
        _EARLIER.job_id == InvitationRow.job_id,
        _EARLIER.kind == FIRST,
        sa.or_(
            _EARLIER.sent_at < InvitationRow.sent_at,
            sa.and_(_EARLIER.sent_at == InvitationRow.sent_at, _EARLIER.id < InvitationRow.id),
        ),
    ),
    OURS_TO_PAY | sa.exists().where(Attempt.job_id == InvitationRow.job_id, Attempt.opened_at <= InvitationRow.sent_at),
)

PROGRESS: Series = {
    "invited": (
        InvitationRow.sent_at,
        sa.select()
        .select_from(InvitationRow)
        .where(
            InvitationRow.batch_id == _BATCH, InvitationRow.kind == FIRST, InvitationRow.sent_at.is_not(None), INVITES
        ),
    ),
    "finished": (
        sa.func.coalesce(SessionRow.update_at, Job.changed_at),
        sa.select()
        .select_from(Job)
        .join(SessionRow, SessionRow.id == Job.session_id)
        .where(_OURS, Job.leader_id.is_(None), Job.state == JobState.COMPLETED),
    ),
}
WORK: Series = {
    "issued": (
        SessionRow.issued_at,
        sa.select()
        .select_from(Job)
        .join(SessionRow, SessionRow.job_id == Job.id)
        .where(_OURS, SessionRow.state != SessionState.DEFERRED),
    ),
    "invited": PROGRESS["invited"],
    "refused": (
        Attempt.closed_at,
        sa.select()
        .select_from(Job)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(_OURS, CALL, Attempt.outcome.not_in((DONE, NOT_SENT))),
    ),
    "finished": PROGRESS["finished"],
}
MOST_STEPS = 48  # of the time axis of a chart


def points_of(connection: sa.Connection, series: Series, batch_id: int, *, unit: str) -> dict[str, Points]:
    """By name, the numbers of each unit (aware UTC) in which something happened, in order. `unit`: hour or minute."""
    found = {}
    for name, (column, query) in series.items():
        begins = begin_of(connection, column, unit)
        counted = query.add_columns(begins.label("begins"), sa.func.count().label("number"))
        rows = fetch(connection, counted.group_by(begins).order_by(begins), {"batch": batch_id})
        found[name] = [(aware(row.begins, unit), row.number) for row in rows]
    return found


def in_steps(
    series: Mapping[str, Points], lengths: Iterable[timedelta], *, unit: timedelta
) -> tuple[datetime, timedelta, dict[str, list[int]]]:
    """When the first step of a chart begins, how long each is, and by name its numbers. `lengths`: those that a step
    may have, the shortest first; `unit`: the points'. There must be a point."""
    times = [at for points in series.values() for at, _ in points]
    first, last = min(times), max(times) + unit
    step = next((one for one in lengths if (last - first) / one <= MOST_STEPS), (last - first) / MOST_STEPS)
    many = max(-(-(last - first) // step), 1)
    sums = {name: [0] * many for name in series}
    for name, points in series.items():
        for at, number in points:
            sums[name][min((at - first) // step, many - 1)] += number
    return first, step, sums


def begin_of(connection: sa.Connection, column: Any, unit: str) -> sa.ColumnElement[Any]:
    """The unit that a time is in, as each database cuts it: day, hour or minute, by UTC."""
    if connection.dialect.name == "sqlite":
        return sa.func.substr(sa.cast(column, sa.String), 1, _WRITTEN[unit][0], type_=sa.String)
    return sa.func.date_trunc(sa.literal_column(f"'{unit}'"), column)


def aware(begins: Any, unit: str) -> datetime:
    return as_utc(datetime.fromisoformat(f"{begins}{_WRITTEN[unit][1]}") if isinstance(begins, str) else begins)


@dataclass
class Figures:
    """What some rows have used, and what became of their customers. `calls` by account: those that cost a credit, or
    may have; of them `lost` have brought no session, and may have cost nothing. `messages` by channel: those that left;
    `charged`: as how many, where a text is charged by its segments. Of a batch the `customers` are counted, of a period
    those who were `invited` and have `finished` in it."""

    calls: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    customers: int = 0
    invited: int = 0
    finished: int = 0
    verified: int = 0

    def add(self, other: "Figures") -> None:
        self.calls.update(other.calls)
        self.lost.update(other.lost)
        self.messages.update(other.messages)
        self.charged.update(other.charged)
        self.customers += other.customers
        self.invited += other.invited
        self.finished += other.finished
        self.verified += other.verified


def sum_of(many: Iterable[Figures]) -> Figures:
    one = Figures()
    for figures in many:
        one.add(figures)
    return one


@dataclass
class Spending:
    """By route, in words. `series`: by name, the numbers of each minute in which something happened, in order."""

    routes: dict[str, Figures] = field(default_factory=dict)
    series: dict[str, Points] = field(default_factory=dict)


def spending_of(database: Database, batch_id: int) -> Spending:
    """What a batch has cost. Rows that joined a job of another list cost nothing here."""
    routes, given = defaultdict[str, Figures](Figures), {"batch": batch_id}
    with database.read() as connection:
        for row in fetch(connection, _CUSTOMERS, given):
            routes[row.route].customers += row.number
            routes[row.route].verified += row.number if row.result == Result.APPROVED else 0
        for row in fetch(connection, _CALLS, given):
            routes[row.route].calls[row.account], routes[row.route].lost[row.account] = row.number, row.lost
        for row in fetch(connection, _MESSAGES, given):
            routes[row.route].messages[row.channel] = row.number
            routes[row.route].charged[row.channel] = row.charged
        return Spending(routes, points_of(connection, PROGRESS, batch_id, unit="minute"))


_NUMBER = sa.func.count().label("number")
_CUSTOMERS = sa.select(Job.route, Job.result, _NUMBER).where(_OURS, Job.leader_id.is_(None))
_CUSTOMERS = _CUSTOMERS.group_by(Job.route, Job.result).order_by(Job.route)
_CALLS = sa.select(Job.route, Attempt.account, _NUMBER, LOST).join(Attempt, Attempt.job_id == Job.id)
_CALLS = _CALLS.where(_OURS, CALL, COSTS).group_by(Job.route, Attempt.account).order_by(Job.route, Attempt.account)
_MESSAGES = (
    sa.select(Job.route, InvitationRow.channel, _NUMBER, sa.func.sum(InvitationRow.segments).label("charged"))
    .join(InvitationRow, InvitationRow.job_id == Job.id)
    .where(_OURS, InvitationRow.sent_at.is_not(None), OURS_TO_PAY)
    .group_by(Job.route, InvitationRow.channel)
    .order_by(Job.route, InvitationRow.channel)
)
DAY = "day"


class Place(NamedTuple):
    """`account`: the one that was called; of a message or a customer, the one that serves the row. `day`: by UTC."""

    account: str
    route: str
    day: date


def figures_of(database: Database, *, begins: datetime, ends: datetime) -> tuple[Mapping[Place, Figures], int]:
    """What was done from `begins` until before `ends`, both the beginning of a day; and how many batches began before
    `ends` and were purged since: their rows are not counted."""
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
            found = figures(row)
            found.calls[row.account], found.lost[row.account] = row.number, row.lost
        purged = sa.select(sa.func.count()).where(Batch.created_at < ends, Batch.purged_at >= begins)
        return places, connection.execute(purged).scalar_one()


def _messages(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    day = begin_of(connection, InvitationRow.sent_at, DAY)
    invites = sa.and_(InvitationRow.kind == FIRST, INVITES)
    of = (Job.account, Job.route, InvitationRow.channel)
    sums = (_sum(invites).label("invited"), _sum(OURS_TO_PAY).label("messages"))
    charged = _sum(OURS_TO_PAY, InvitationRow.segments).label("charged")
    query = sa.select(*of, day.label("day"), *sums, charged).select_from(InvitationRow)
    query = query.join(Job, Job.id == InvitationRow.job_id)
    return query.where(InvitationRow.sent_at >= begins, InvitationRow.sent_at < ends).group_by(*of, day)


def _finished(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    at = sa.func.coalesce(SessionRow.update_at, Job.changed_at, type_=Job.changed_at.type)
    day = begin_of(connection, at, DAY)
    completed, approved = Job.state == JobState.COMPLETED, Job.result == Result.APPROVED
    sums = (_sum(completed).label("finished"), _sum(approved).label("verified"))
    query = sa.select(Job.account, Job.route, day.label("day"), *sums).join(SessionRow, SessionRow.id == Job.session_id)
    query = query.where(Job.leader_id.is_(None), sa.or_(completed, approved), at >= begins, at < ends)
    return query.group_by(Job.account, Job.route, day)


def _calls(connection: sa.Connection, begins: datetime, ends: datetime) -> sa.Select[*tuple[object, ...]]:
    day = begin_of(connection, Attempt.opened_at, DAY)
    query = sa.select(Attempt.account, Job.route, day.label("day"), _NUMBER, LOST)
    query = query.join(Job, Job.id == Attempt.job_id).group_by(Attempt.account, Job.route, day)
    return query.where(Attempt.id >= _first_id(begins), Attempt.id < _first_id(ends), CALL, COSTS)


def _sum(condition: sa.ColumnElement[bool], what: object = 1) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, what), else_=0))


def _first_id(at: datetime) -> UUID:
    """No id of this time or later is smaller, and each of an earlier time is (`core.database.job_ids`)."""
    return UUID(int=(at - EPOCH) // MILLISECOND << 80)
