"""Counts the reissues that each account has opened today, for the daily cap."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.tables import ReissueCount
from worker.core.database.upserts import insert

_LOCKED = (
    sa.select(ReissueCount.account, ReissueCount.count.label("number"))
    .where(bulk.among(ReissueCount.account, "accounts"), ReissueCount.day == sa.bindparam("day"))
    .order_by(ReissueCount.account)
    .with_for_update()
)
_COUNT = (
    sa.update(ReissueCount)
    .where(ReissueCount.account == sa.bindparam("of_account"), ReissueCount.day == sa.bindparam("on_day"))
    .values(count=ReissueCount.count + sa.bindparam("more"))
)


def today(connection: sa.Connection, account: str, *, lock: bool, now: datetime) -> int:
    """The account's count since 0:00 UTC. Without `lock`, other transactions may count meanwhile; see `so_far`."""
    day = now.astimezone(UTC).date()
    if lock:
        return so_far(connection, [account], day).get(account, 0)
    query = sa.select(ReissueCount.count).where(ReissueCount.account == account, ReissueCount.day == day)
    return connection.execute(query).scalar() or 0


def so_far(connection: sa.Connection, accounts: Iterable[str], day: date) -> dict[str, int]:
    """The counts of these accounts on a day, locked: no other transaction counts for them until this one ends."""
    names = sorted(set(accounts))
    if not names:
        return {}
    rows = [{"account": name, "day": day, "count": 0} for name in names]
    connection.execute(insert(ReissueCount, connection.dialect.name).on_conflict_do_nothing(), rows)
    return {row.account: row.number for row in fetch(connection, _LOCKED, {"accounts": bulk.keys(names), "day": day})}


def count(connection: sa.Connection, more: Mapping[str, int], day: date) -> None:
    """Add these numbers to the accounts' counts; `so_far` must have locked the rows."""
    rows = [{"of_account": name, "on_day": day, "more": number} for name, number in sorted(more.items()) if number]
    if rows:
        connection.execute(_COUNT, rows)
