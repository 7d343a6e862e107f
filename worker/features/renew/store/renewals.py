"""Approvals as they come, those that are due, and what became of them; and their table."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.facts import SessionsCompleted
from onboarding_worker.core.database.job_ids import Key
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import NAMING, Base, partial
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import Result
from onboarding_worker.features.renew.section import Renew, approved_until

TABLES = sa.MetaData(naming_convention=NAMING)


class RenewalRow(Base):
    """A customer's newest approval for a purpose, and whether it was asked to be renewed."""

    metadata = TABLES
    __tablename__ = "renewal"

    customer_id: ColumnOf[str] = column(sa.String(100), primary_key=True)
    purpose: ColumnOf[str] = column(sa.String(64), primary_key=True)
    session_id: ColumnOf[uuid.UUID] = column(doc="The session in which the customer was approved.")
    approved_at: ColumnOf[datetime]
    over_at: ColumnOf[datetime | None] = column(doc="When it was asked for, or given up; NULL: neither.")
    why: ColumnOf[str] = column(sa.String(40), server_default="", doc="Why it was given up, or put off.")
    job_id: ColumnOf[int | None] = column(sa.BigInteger(), doc="The job that asks again.")
    next_at: ColumnOf[datetime | None] = column(doc="It is not looked at again before then.")

    __table_args__ = (
        partial("ix_renewal_due", "approved_at", "customer_id", where="over_at IS NULL"),
        partial("ix_renewal_over", "over_at", where="over_at IS NOT NULL"),
    )


_SESSIONS = sa.select(SessionRow.id, SessionRow.customer_id, SessionRow.purpose, SessionRow.update_at).where(
    bulk.among(SessionRow.id, "ids")
)


class Approvals:
    """Keeps each approval in the transaction that makes it, also while nothing is renewed: `every` may be set later."""

    targets, hears = (), SessionsCompleted

    def observe(self, connection: sa.Connection, fact: SessionsCompleted, now: datetime) -> None:
        """One that the provider has taken back is none."""
        if not fact.ids:
            return
        if fact.result != Result.APPROVED:
            taken_back = sa.delete(RenewalRow).where(RenewalRow.session_id.in_(fact.ids), RenewalRow.over_at.is_(None))
            connection.execute(taken_back)
            return
        newest: dict[Key, dict[str, Any]] = {}
        sessions = fetch(connection, _SESSIONS, {"ids": bulk.keys(fact.ids)})
        for row in sorted(sessions, key=lambda one: one.update_at or now):
            key = row.customer_id, row.purpose
            newest[key] = {"customer_id": row.customer_id, "purpose": row.purpose}
            newest[key] |= {"session_id": row.id, "approved_at": row.update_at or now}
        new = bulk.insert(RenewalRow, connection.dialect.name)
        kept = {"over_at": None, "why": "", "job_id": None, "next_at": None}
        statement = new.on_conflict_do_update(
            index_elements=[RenewalRow.customer_id, RenewalRow.purpose],
            set_={"session_id": new.excluded.session_id, "approved_at": new.excluded.approved_at, **kept},
            where=new.excluded.approved_at > RenewalRow.approved_at,
        )
        for key in sorted(newest):  # in one order, so that two transactions cannot deadlock
            connection.execute(statement, newest[key] | kept)


def observing(_settings: object) -> Approvals:
    return Approvals()


def due_by(rules: Renew, by: datetime) -> sa.ColumnElement[bool]:
    """Whether the customer of an approval is to be asked again by this time."""
    ends = by + rules.before
    of_purposes = [
        sa.and_(RenewalRow.purpose == purpose, RenewalRow.approved_at <= approved_until(ends, months))
        for purpose, months in rules.purposes.items()
        if months
    ]
    if rules.every is not None:
        others = RenewalRow.purpose.not_in([*rules.purposes])
        of_purposes.append(sa.and_(others, RenewalRow.approved_at <= approved_until(ends, rules.every)))
    return sa.or_(sa.false(), *of_purposes)


def due(connection: sa.Connection, rules: Renew, *, most: int, now: datetime) -> list[Key]:
    """Whose renewals are due, those of the oldest approvals first."""
    query = (
        sa.select(RenewalRow.customer_id, RenewalRow.purpose)
        .where(*_due_now(rules, now))
        .order_by(RenewalRow.approved_at, RenewalRow.customer_id)
        .limit(most)
    )
    return [(row.customer_id, row.purpose) for row in fetch(connection, query)]


def still_due(connection: sa.Connection, rules: Renew, keys: Collection[Key], *, now: datetime) -> list[Any]:
    """Those of these that are due, locked, the oldest first."""
    query = (
        sa.select(RenewalRow.__table__)
        .where(sa.tuple_(RenewalRow.customer_id, RenewalRow.purpose).in_(sorted(keys)), *_due_now(rules, now))
        .order_by(RenewalRow.customer_id, RenewalRow.purpose)
        .with_for_update()
    )
    return sorted(fetch(connection, query), key=lambda row: (row.approved_at, row.customer_id))


def _due_now(rules: Renew, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    is_looked_at = sa.or_(RenewalRow.next_at.is_(None), RenewalRow.next_at <= now)
    return RenewalRow.over_at.is_(None), is_looked_at, due_by(rules, now)


def write(connection: sa.Connection, changes: Mapping[Key, Mapping[str, Any]]) -> None:
    for (customer_id, purpose), values in sorted(changes.items()):
        of_key = (RenewalRow.customer_id == customer_id, RenewalRow.purpose == purpose)
        connection.execute(sa.update(RenewalRow).where(*of_key).values(values))


def asked_today(connection: sa.Connection, *, now: datetime) -> int:
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    query = sa.select(sa.func.count()).where(RenewalRow.over_at >= midnight, RenewalRow.job_id.is_not(None))
    return connection.execute(query).scalar_one()


class Way(NamedTuple):
    """How a customer was asked last; "" and NONE if that row is gone."""

    account: str
    channel: Channel


def number_due_by_way(database: Database, rules: Renew, times: Sequence[datetime]) -> dict[Way, list[int]]:
    """How many are to be asked by each of these times, in ascending order, by account and channel, which are
    those of the approved session."""
    sums = (sa.func.sum(sa.case((due_by(rules, at), 1), else_=0)).label(f"by_{n}") for n, at in enumerate(times))
    query = (
        sa.select(SessionRow.account, Job.channel, *sums)
        .select_from(RenewalRow)
        .outerjoin(SessionRow, SessionRow.id == RenewalRow.session_id)
        .outerjoin(Job, Job.id == SessionRow.job_id)
        .where(RenewalRow.over_at.is_(None), due_by(rules, times[-1]))
        .group_by(SessionRow.account, Job.channel)
    )
    found = database.rows(query)
    return {Way(row[0] or "", row[1] or Channel.NONE): [int(number) for number in row[2:]] for row in found}


def not_asked(database: Database, *, most: int) -> list[Any]:
    """Customers who were not asked, or are put off, and why."""
    left = sa.select(RenewalRow.__table__).where(RenewalRow.why != "", RenewalRow.job_id.is_(None))
    return database.rows(left.order_by(RenewalRow.approved_at).limit(most))
