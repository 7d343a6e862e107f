"""Which budget each account was counted in last: its own row says so. A process that makes calls writes it at its
start, and carries over what was used in another budget before."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import read, save
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Budget
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.stops import tries_again_by_itself
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.core.rules.limits import UsedCredits
from onboarding_worker.settings.policies import BudgetRules, named_together

_ROWS = sa.select(Budget.name, sa.func.coalesce(Budget.counted_in, Budget.name).label("budget")).order_by(Budget.name)
_COUNT_IN = sa.update(Budget).where(Budget.name == sa.bindparam("of")).values(counted_in=sa.bindparam("budget"))


def as_counted(rules: BudgetRules, database: Database) -> BudgetRules:
    """The rules with the budgets that accounts were counted in last. Of those that share one, an account with a cap has
    the rule: the file may set it for one of them only."""
    last = {row.name: row.budget for row in database.rows(_ROWS)}
    budgets = {name: last.get(name, rule.name) for name, rule in rules.accounts.items()}
    capped_last = sorted(rules.accounts.items(), key=lambda one: one[1].is_capped)
    shared = {budgets[name]: replace(rule, name=budgets[name]) for name, rule in capped_last}
    return replace(rules, accounts=named_together({name: shared[budget] for name, budget in budgets.items()}))


def carry_over(database: Database, budgets: Mapping[str, str], *, now: datetime) -> None:
    """Count these accounts in these budgets from now on, with all that was used before.

    A budget without accounts is emptied, and stopped for processes with another configuration. One that others keep
    counts on, and so does the new one: whose credential it was is not known.
    """
    with database.write() as connection:
        # All rows, in one order: of processes that start at once the first carries over, the others find it done.
        before = {row.name: row.budget for row in connection.execute(_ROWS.with_for_update())}
        moves = {(before[name], budget) for name, budget in budgets.items() if before[name] != budget}
        states = {name: read(connection, name) for move in moves for name in move}
        after = dict(states)
        for left, found in sorted(moves):
            if states[left] != BudgetState():
                after[found] = _together(states[left], after[found], now=now)
                why = f"carried on from budget {left}, with its {counted(states[left].credits_used, 'used credit')}"
                note(connection, f"budget {found}", now=now, reason=why)
            if left not in budgets.values():
                why = f"another configuration counts its accounts in budget {found}: restart what has the older one"
                after[left] = BudgetState(stopped_at=now, stop_reason=why)
        for name, state in after.items():
            save(connection, name, state)
        connection.execute(_COUNT_IN, [{"of": name, "budget": budget} for name, budget in budgets.items()])


def _together(left: BudgetState, found: BudgetState, *, now: datetime) -> BudgetState:
    """The credits of both, the stop that a person must end if one is, and the longer pause and wait for a slot."""
    both, spent, more = (left, found), left.spent.at(now), found.spent.at(now)
    stop = max(both, key=lambda one: (one.stopped_at is not None, not tries_again_by_itself(one.stop_reason)))
    blocked_until, next_at = (
        max((at for one in both if (at := getattr(one, name)) is not None), default=None)
        for name in ("blocked_until", "next_at")
    )
    day = max(left.spent.day_at(now), found.spent.day_at(now))
    spent = UsedCredits(day, spent.today + more.today, spent.week + more.week, spent.month + more.month)
    used = left.credits_used + found.credits_used
    return replace(stop, blocked_until=blocked_until, next_at=next_at, credits_used=used, spent=spent)
