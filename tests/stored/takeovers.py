"""Takeovers: an account that cannot work, its rows, and the accounts that take over the rows."""

from datetime import timedelta

from onboarding_worker.core.database.tables import Budget, Job
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.upkeep.takeovers import Takeover
from onboarding_worker.lists.lines import AcceptedLine
from tests.stored.shelf import add_lines, customer

HALF_AN_HOUR = timedelta(minutes=30)


def takeover(target="au", *, source="kyc", well=("au",), sharing=(), **rule) -> Takeover:
    return Takeover(
        source=source,
        source_budget=source,
        target=target,
        rule=BudgetRule(target, **rule),
        floor=HALF_AN_HOUR,
        sharing=(target, *sharing),
        well=well,
    )


def add(shelf, *customers, fallback_accounts=("au",), freshness=None, account="kyc", priority=BATCH) -> int:
    batch = shelf.batch()
    lines = [
        AcceptedLine(row, accepted, account, "route 1: every customer", 12 * 3600, fallback_accounts, freshness)
        for row, accepted in enumerate(customers, 2)
    ]
    add_lines(shelf.batches, batch, lines, priority=priority, now=shelf.clock())
    return batch


def add_many(shelf, count, prefix="C", **how) -> int:
    return add(shelf, *(customer(f"{prefix}{number:04}") for number in range(count)), **how)


def stop(shelf, name="kyc", *, asks_again_after=None):
    """Stop the account: until a person acts, or as a 401 does, until one call asks whether the stop is over."""
    again = None if asks_again_after is None else shelf.clock() + asks_again_after
    shelf.set(Budget, Budget.name == name, stopped_at=shelf.clock(), stop_reason="HTTP 401", asks_again_at=again)


def open_breaker(shelf, name="kyc", *, blocked_for=timedelta(minutes=5)):
    values = {"opened_at": shelf.clock(), "blocked_until": shelf.clock() + blocked_for, "failures": 5}
    shelf.set(Budget, Budget.name == name, **values)


def move(shelf, failover, which=None) -> int:
    return failover.move(which or takeover(), now=shelf.clock())


def remaining(shelf, failover, batch, which=None):
    """How many rows of the batch may still move, and when the first of them is due."""
    of = (which or takeover(), batch)
    return failover.count(*of, now=shelf.clock()), failover.first_due(*of, now=shelf.clock())


def accounts_of(shelf) -> dict[str, str]:
    return {row.customer_id: row.account for row in shelf.rows(Job)}


def count_at(shelf, account="au") -> int:
    return sum(row.account == account for row in shelf.rows(Job))
