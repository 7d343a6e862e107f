"""The credits of an account, in its budget's row: counted, spent up to a cap, given back."""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.bounded_connection import UNANSWERED
from worker.core.database.tables import Budget
from worker.core.limits.budgets import BudgetRule, at_cap, credits_left, refunded
from worker.core.limits.store import budgets

_COUNT = (
    sa.update(Budget)
    .where(Budget.name == sa.bindparam("budget"))
    .values(credits_used=Budget.credits_used + sa.bindparam("spent"))
)


def count(connection: sa.Connection, rule: BudgetRule, spent: int) -> None:
    """Count credits of an account without a cap: a cap that is set later covers what was bought before."""
    if spent:
        connection.execute(_COUNT, {"budget": rule.name, "spent": spent}, execution_options=UNANSWERED)


def spend(connection: sa.Connection, rule: BudgetRule, wanted: int, *, now: datetime) -> int:
    """Count up to `wanted` credits as used. Returns how many the cap allows. At the cap the account stops."""
    state = budgets.read(connection, rule.name, lock=True)
    left = credits_left(state, rule)
    allowed = wanted if left is None else min(wanted, left)
    after = replace(state, credits_used=state.credits_used + allowed)
    budgets.save_turn(connection, rule, state, at_cap(after, rule, now=now) if allowed < wanted else after)
    return allowed


def stop_at_cap(connection: sa.Connection, rule: BudgetRule, *, now: datetime) -> None:
    """Stop the account if its credit cap allows no further call. Call this when due rows wait for a call."""
    state = budgets.read(connection, rule.name, lock=True)
    if credits_left(state, rule) == 0:
        budgets.save_turn(connection, rule, state, at_cap(state, rule, now=now))


def refund(connection: sa.Connection, rule: BudgetRule, calls: int) -> None:
    """Refund the credits of calls that were written down but not made."""
    if calls:
        budgets.save(connection, rule.name, refunded(budgets.read(connection, rule.name, lock=True), rule, calls))
