"""How many calls each dispatcher may have in flight, so that all together never exceed the account's concurrency.

`share` decides; the permits of each budget are rows, one for each dispatcher, written under the lock on the budget's
row. When more dispatchers share the account, a dispatcher opens no call until it is down to its new share. Its calls in
flight stay counted as its own until they end. No dispatcher holds many more permits than it uses: a dispatcher that
waits for one slow call must not delay the customers of the other dispatchers.

Mostly nothing changes. A check then costs one short query a few times a second, and no lock. The permits of a killed
worker are free once their time has run out.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from worker.core.database.database import Database, fetch
from worker.core.database.fast import tally
from worker.core.database.fast.unanswered import UNANSWERED
from worker.core.database.tables import Permit
from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.store import budgets

# The most rows claimed at once: more would wait in the worker until their leases end, if the calls become slow.
MOST_PER_PERMIT = 60
ASK_AGAIN = timedelta(milliseconds=200)  # how soon a dispatcher reads the permits of the other dispatchers again
# How old a dispatcher's permits may become before it renews them. A call for a row claimed then ends this long before
# that row's lease ends (`FLUSH_MARGIN`), so no other dispatcher gets its permit while the call is in flight.
RENEW_AFTER = timedelta(seconds=5)
# A dispatcher begins with a fourth of all permits, at least this many, and doubles them when it nearly uses them all.
BEGINS_WITH = 8
# With more dispatchers than permits, each dispatcher has a turn: all accounts that share a budget must go on.
TURN = timedelta(seconds=5)
_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


class Share(NamedTuple):
    """`use` bounds the calls in flight before another call is opened; `keep` permits count as the owner's.

    `alone`: no other dispatcher holds permits.
    """

    use: int
    keep: int
    alone: bool = False


def share(cap: int, held: Iterable[Any], owner: str, *, busy: int, now: datetime) -> Share:
    """The share of `cap` permits for `owner`, which has `busy` calls in flight.

    `held`: the permits of each dispatcher, with its `owner`; they end at `until` unless it renews them.
    """
    live = {item.owner: item.permits for item in held if item.until > now}
    mine = live.pop(owner, 0)
    free = cap - sum(live.values())
    owners = sorted([*live, owner])
    each, rest = divmod(cap, len(owners))
    turn = (now - _DAY_ONE) // TURN if each == 0 else 0
    fair = each + ((owners.index(owner) + turn) % len(owners) < rest)
    wanted = least = min(max(-(-cap // 4), BEGINS_WITH), cap)
    if mine >= least:
        wanted = 2 * mine if 4 * busy >= 3 * mine else max(mine // 2, least) if 4 * busy < mine else mine
    use = max(min(fair, wanted, free), 0)
    return Share(use, max(use, min(busy, mine)), alone=not live)


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
    ) -> tuple[Share | None, BudgetState | None]:
        """The share of `owner`, which has `busy` calls in flight now. Renews or changes its permits.

        None if each process has its own permits. `is_locked`: the budget's row. Returns also the budget's state if the
        row was locked here.
        """
        if rule.each_process:
            return None, None
        known = self._known.get((rule.name, owner))
        if known is not None and known[1] <= now < known[1] + ASK_AGAIN:
            return known[0], None
        state: BudgetState | None = None
        while True:
            held = fetch(connection, _HELD, {"budget_": rule.name})
            granted = share(rule.concurrency, held, owner, busy=busy, now=now)
            mine = next((item for item in held if item.owner == owner), None)
            is_kept = mine is not None and mine.permits == granted.keep and mine.until - now > lease - RENEW_AFTER
            if is_kept or is_locked or state is not None:
                break
            state = budgets.read(connection, rule.name, lock=True)  # and once more under the lock
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
        return granted, state

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
    return {row.budget: row.permits for row in database.rows(query.group_by(Permit.budget))}
