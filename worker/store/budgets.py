"""The budget rows: one for each account, or for all accounts that the provider counts together.

Whoever reserves calls or learns from them holds the row's lock, so all workers share one budget.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.budgets import FREE, BudgetRule, BudgetState, Lesson, at_cap, credits_left, learned, refunded, resumed
from worker.models import Budget
from worker.store.database import Database

_COLUMNS = [Budget.__table__.c[field.name] for field in fields(BudgetState)]


def read(connection: sa.Connection, name: str, *, lock: bool = False) -> BudgetState:
    """The budget's state. With `lock`, nobody else changes it until the transaction ends. Raises LookupError."""
    query = sa.select(*_COLUMNS).where(Budget.name == name)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        # Made by `Budgets.ensure` before any work begins; a budget that is missing must not count as unlimited.
        raise LookupError(f"there is no budget {name!r}")
    return BudgetState(**row._mapping)


def save(connection: sa.Connection, name: str, state: BudgetState) -> None:
    connection.execute(sa.update(Budget).where(Budget.name == name).values(**asdict(state)))


def learn(connection: sa.Connection, rule: BudgetRule, lessons: Iterable[Lesson], *, now: datetime) -> BudgetState:
    """Apply what calls taught, and give back the credits of those that cost none."""
    lessons = list(lessons)
    unlocked = read(connection, rule.name)
    free = sum(lesson.kind in FREE or lesson.unreachable for lesson in lessons)
    refunds = free if rule.credits is not None else 0
    if learned(unlocked, rule, lessons, now=now) == unlocked and not refunds:
        return unlocked  # nothing new, as mostly: the row stays cold
    before = read(connection, rule.name, lock=True)
    after = learned(before, rule, lessons, now=now)
    if refunds:
        after = refunded(after, rule, refunds)
    save(connection, rule.name, after)
    return after


def spend_credits(connection: sa.Connection, rule: BudgetRule, wanted: int, *, now: datetime) -> int:
    """Count up to `wanted` credits as used; returns how many the cap allows. At the cap the account stops."""
    if rule.credits is None:
        return wanted
    state = read(connection, rule.name, lock=True)
    allowed = min(wanted, max(rule.credits - state.credits_used, 0))
    after = replace(state, credits_used=state.credits_used + allowed)
    save(connection, rule.name, at_cap(after, rule, now=now) if allowed < wanted else after)
    return allowed


def stop_at_cap(connection: sa.Connection, rule: BudgetRule, *, now: datetime) -> None:
    """Stop the account if its cap on credits leaves no call: rows wait for one."""
    state = read(connection, rule.name, lock=True)
    if credits_left(state, rule) == 0:
        save(connection, rule.name, at_cap(state, rule, now=now))


def end_probe(connection: sa.Connection, rule: BudgetRule) -> None:
    """Let another call go first: the one that was to find out whether a pause is over may not have been made."""
    probing = sa.update(Budget).where(Budget.name == rule.name, Budget.probe_until.is_not(None))
    connection.execute(probing.values(probe_until=None))


def refund_credits(connection: sa.Connection, rule: BudgetRule, count: int) -> None:
    """Give back the credits of calls that were written down and then not made."""
    if rule.credits is not None and count:
        save(connection, rule.name, refunded(read(connection, rule.name, lock=True), rule, count))


class Budgets:
    """The budgets as the rest of the worker asks for them, each call in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, names: Iterable[str]) -> None:
        """Make the rows that are missing."""
        with self._database.read() as connection:
            known = set(connection.execute(sa.select(Budget.name)).scalars())
        missing = [{"name": name, **asdict(BudgetState())} for name in sorted(set(names) - known)]
        if missing:
            with self._database.write() as connection:
                # Two workers may start at the same moment: the second leaves the first one's row alone.
                insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
                connection.execute(insert(Budget).on_conflict_do_nothing(), missing)

    def all(self) -> Mapping[str, BudgetState]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*_COLUMNS, Budget.name.label("budget")))
            return {row.budget: BudgetState(*row[:-1]) for row in rows}

    def resume(self, name: str) -> bool:
        """Try a stopped budget's accounts again, with one call going first; whether it was stopped."""
        with self._database.read() as connection:
            if read(connection, name).stopped_at is None:
                return False
        with self._database.write() as connection:
            save(connection, name, resumed(read(connection, name, lock=True)))
        return True
