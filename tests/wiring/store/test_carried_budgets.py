"""Accounts are counted in another budget than before: nothing that they have used, and no stop or pause, is lost."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database.tables import Audit, Budget
from onboarding_worker.core.model.stops import REPEATS
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, with_credits
from onboarding_worker.wiring.store.carried_budgets import carry_over
from tests.stored.row_locks import waiting

pytestmark = pytest.mark.both_databases


def used(shelf, number: int, **changes: object) -> BudgetState:
    return replace(with_credits(BudgetState(), {shelf.clock().date(): number}, now=shelf.clock()), **changes)


def stored(shelf, **states: BudgetState) -> Budgets:
    shelf.budgets.ensure(["a", "b", "c"])
    with shelf.database.write() as connection:
        for name, state in states.items():
            budgets.save(connection, name, state)
    return shelf.budgets


def test_two_budgets_that_are_one_now_add_up_their_credits_and_keep_the_longer_wait(shelf):
    now, hour = shelf.clock(), timedelta(hours=1)
    person = {"stopped_at": now, "stop_reason": f"{REPEATS}3"}
    one = used(shelf, 2, next_at=now + hour, **person)
    other = used(shelf, 3, blocked_until=now + hour, stopped_at=now, stop_reason="401")
    for first, second in ((one, other), (other, one)):
        kept = stored(shelf, a=first, b=second)
        shelf.set(Budget, counted_in=None)
        carry_over(shelf.database, {"a": "a", "b": "a"}, now=now)
        state = kept.all()["a"]
        assert (state.credits_used, state.spent.today, state.spent.month) == (5, 5, 5)
        assert (state.stop_reason, state.blocked_until, state.next_at) == (f"{REPEATS}3", now + hour, now + hour)


def test_a_process_with_an_older_configuration_makes_no_call_in_the_budget_that_was_left(shelf):
    kept = stored(shelf, b=used(shelf, 3))
    carry_over(shelf.database, {"a": "a", "b": "a"}, now=shelf.clock())
    left = kept.all()["b"]
    assert (left.credits_used, left.stopped_at, left.asks_again_at) == (0, shelf.clock(), None)
    assert "counts its accounts in budget a" in left.stop_reason
    assert kept.resume("b") == ["stop"]  # by a process that starts, in whose configuration it is one


def test_a_budget_that_is_parted_counts_in_both_what_was_used(shelf):
    kept = stored(shelf, a=used(shelf, 3))
    carry_over(shelf.database, {"a": "a", "b": "a"}, now=shelf.clock())
    carry_over(shelf.database, {"a": "a", "b": "b"}, now=shelf.clock())
    assert [kept.all()[name].credits_used for name in ("a", "b")] == [3, 3]


def test_budgets_that_move_in_a_row_mix_nothing(shelf):
    kept = stored(shelf, a=used(shelf, 1), b=used(shelf, 10))
    carry_over(shelf.database, {"a": "b", "b": "c"}, now=shelf.clock())
    assert [kept.all()[name].credits_used for name in ("a", "b", "c")] == [0, 11, 10]


@pytest.mark.postgresql_alone
def test_a_credit_that_another_process_spends_meanwhile_is_carried_over_once(shelf):
    kept, accounts = stored(shelf, b=used(shelf, 3)), {"a": "a", "b": "a"}
    with waiting(shelf.database, lambda: carry_over(shelf.database, accounts, now=shelf.clock())) as connection:
        budgets.spend_credits(connection, BudgetRule("b", credits=9), 1, now=shelf.clock())
    carry_over(shelf.database, accounts, now=shelf.clock())
    assert kept.all()["a"].credits_used == 4
    assert len(shelf.rows(Audit)) == 1
