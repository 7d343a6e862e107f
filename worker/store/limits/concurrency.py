"""The permits of each account: a row for each dispatcher that works on it, written under the lock on the budget's row.

Mostly nothing changes, and then looking costs one short query a few times a second, and no lock. The permits of a
worker that was killed are nobody's once their time is over.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.domain.limits.budgets import BudgetRule
from worker.domain.limits.concurrency import ASK_AGAIN, RENEW_AFTER, Held, Share, share
from worker.store.base.database import Database, fetch
from worker.store.limits import budgets
from worker.store.tables import Permit


class Permits:
    """What this process's dispatchers hold, remembered between two looks at the table."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Share, datetime]] = {}

    def hold(
        self, connection: sa.Connection, rule: BudgetRule, owner: str, *, lease: timedelta, busy: int, now: datetime
    ) -> int | None:
        """How many calls `owner` may have in flight, which has `busy`: renewed, raised or lowered where need be.

        None where each process has permits of its own.
        """
        if rule.each_process:
            return None
        known = self._known.get((rule.name, owner))
        if known is not None and known[1] <= now < known[1] + ASK_AGAIN:
            return known[0].use
        granted, is_kept = _share(connection, rule, owner, lease=lease, busy=busy, now=now)
        if not is_kept:
            budgets.read(connection, rule.name, lock=True)
            granted, is_kept = _share(connection, rule, owner, lease=lease, busy=busy, now=now)
            if not is_kept:
                old = sa.or_(Permit.owner == owner, Permit.until <= now)
                connection.execute(sa.delete(Permit).where(Permit.budget == rule.name, old))
                row = {"budget": rule.name, "owner": owner, "permits": granted.keep, "until": now + lease}
                connection.execute(sa.insert(Permit).values(row))
                # Nobody has been told then: whoever makes the transaction anew, at the same time, looks again.
                outdated = {(rule.name, owner): (granted, now - ASK_AGAIN)}
                sa.event.listen(connection, "rollback", lambda _: self._known.update(outdated))
        self._known[rule.name, owner] = (granted, now)
        return granted.use

    def alone(self, rule: BudgetRule, owner: str) -> bool:
        """Whether no other dispatcher held permits when `owner` was last told of its own; False where nobody knows."""
        known = self._known.get((rule.name, owner))
        return known is not None and known[0].alone

    def give_back(self, connection: sa.Connection, rule: BudgetRule, owner: str) -> None:
        """Give back all permits of a dispatcher that has ended."""
        if self._known.pop((rule.name, owner), None) is not None:
            connection.execute(sa.delete(Permit).where(Permit.budget == rule.name, Permit.owner == owner))


def clear(database: Database) -> None:
    """Forget what everybody holds: where no other process can be working."""
    with database.write() as connection:
        connection.execute(sa.delete(Permit))


def in_use(database: Database, *, now: datetime) -> Mapping[str, int]:
    """The permits that are held now, by budget."""
    query = sa.select(Permit.budget, sa.func.sum(Permit.permits).label("permits")).where(Permit.until > now)
    with database.read() as connection:
        return {row.budget: row.permits for row in fetch(connection, query.group_by(Permit.budget))}


def _share(
    connection: sa.Connection, rule: BudgetRule, owner: str, *, lease: timedelta, busy: int, now: datetime
) -> tuple[Share, bool]:
    """The owner's share, and whether its row says so already, for a while yet."""
    query = sa.select(Permit.owner, Permit.permits, Permit.until).where(Permit.budget == rule.name)
    held = [Held(row.owner, row.permits, row.until) for row in fetch(connection, query)]
    granted = share(rule.concurrency, held, owner, busy=busy, now=now)
    mine = next((item for item in held if item.owner == owner), None)
    return granted, mine is not None and mine.permits == granted.keep and mine.until - now > lease - RENEW_AFTER
