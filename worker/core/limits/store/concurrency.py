"""The permits of each budget: a row for each dispatcher, written under the lock on the budget's row.

Mostly nothing changes. A check then costs one short query a few times a second, and no lock. The permits of a killed
worker are free once their time has run out.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.database import tally
from worker.core.database.bounded_connection import UNANSWERED
from worker.core.database.database import Database, fetch
from worker.core.database.tables import Permit
from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.concurrency import ASK_AGAIN, RENEW_AFTER, Held, Share, share
from worker.core.limits.store import budgets

_REMOVE_OLD = sa.delete(Permit).where(
    Permit.budget == sa.bindparam("budget_"),
    sa.or_(Permit.owner == sa.bindparam("owner_"), Permit.until <= sa.bindparam("now")),
)
_ADD = sa.insert(Permit)
_HELD = sa.select(Permit.owner, Permit.permits, Permit.until).where(Permit.budget == sa.bindparam("budget_"))


class Permits:
    """The permits of this process's dispatchers, remembered between two reads of the table."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Share, datetime]] = {}

    def is_new(self, rule: BudgetRule, owner: str) -> bool:
        """Whether the dispatcher has no permits yet, so that `hold` writes some."""
        return not rule.each_process and (rule.name, owner) not in self._known

    def hold(
        self,
        connection: sa.Connection,
        rule: BudgetRule,
        owner: str,
        *,
        lease: timedelta,
        busy: int,
        is_locked: bool,
        now: datetime,
    ) -> tuple[int | None, BudgetState | None]:
        """How many calls `owner` may have in flight; `busy` calls are in flight now. Renews or changes its permits.

        None if each process has its own permits. `is_locked`: the budget's row. Returns also the budget's state if the
        row was locked here.
        """
        if rule.each_process:
            return None, None
        known = self._known.get((rule.name, owner))
        if known is not None and known[1] <= now < known[1] + ASK_AGAIN:
            return known[0].use, None
        state = None
        granted, is_kept = _share(connection, rule, owner, lease=lease, busy=busy, now=now)
        if not is_kept and not is_locked:
            state = budgets.read(connection, rule.name, lock=True)
            granted, is_kept = _share(connection, rule, owner, lease=lease, busy=busy, now=now)
        if not is_kept:
            given = {"budget_": rule.name, "owner_": owner, "now": now}
            connection.execute(_REMOVE_OLD, given, execution_options=UNANSWERED)
            row = {"budget": rule.name, "owner": owner, "permits": granted.keep, "until": now + lease}
            connection.execute(_ADD, row, execution_options=UNANSWERED)
            # Outdated until the commit: a repeat after a rollback must read the table, and so must another flush.
            self._known[rule.name, owner] = (granted, now - ASK_AGAIN)
            committed = {(rule.name, owner): (granted, now)}
            tally.of(connection).committed.append(lambda: self._known.update(committed))
        else:
            self._known[rule.name, owner] = (granted, now)
        return granted.use, state

    def shared(self, rule: BudgetRule, owner: str) -> bool:
        """True if other dispatchers had permits when `owner` last read its own. False if that is not known."""
        known = self._known.get((rule.name, owner))
        return known is not None and not known[0].alone

    def release(self, connection: sa.Connection, rule: BudgetRule, owner: str) -> None:
        """Release all permits of a dispatcher that has ended."""
        if self._known.pop((rule.name, owner), None) is not None:
            connection.execute(sa.delete(Permit).where(Permit.budget == rule.name, Permit.owner == owner))


def clear(database: Database) -> None:
    """Remove all permits. Only for when no other process can be working."""
    with database.write() as connection:
        connection.execute(sa.delete(Permit))


def in_use(database: Database, *, now: datetime) -> Mapping[str, int]:
    """The number of permits in use now, by budget."""
    query = sa.select(Permit.budget, sa.func.sum(Permit.permits).label("permits")).where(Permit.until > now)
    with database.read() as connection:
        return {row.budget: row.permits for row in fetch(connection, query.group_by(Permit.budget))}


def _share(
    connection: sa.Connection, rule: BudgetRule, owner: str, *, lease: timedelta, busy: int, now: datetime
) -> tuple[Share, bool]:
    """The owner's share, and whether the owner's row already has this share and stays valid for a while."""
    held = [Held(row.owner, row.permits, row.until) for row in fetch(connection, _HELD, {"budget_": rule.name})]
    granted = share(rule.concurrency, held, owner, busy=busy, now=now)
    mine = next((item for item in held if item.owner == owner), None)
    return granted, mine is not None and mine.permits == granted.keep and mine.until - now > lease - RENEW_AFTER
