"""Which accounts may work what is due: those that are woken."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, at_cap
from tests.stored.shelf import customer

TICK = timedelta(microseconds=1)


@pytest.fixture
def workable(shelf):
    now = shelf.clock()
    shelf.add(customer("Ona"))
    capped = BudgetRule("kyc", credits=3)
    rules = {"kyc": capped, "shares": capped, "other": BudgetRule("other", credits=3)}
    well = replace(BudgetState(), credits_used=2)

    def of(state, *due, batch=None):
        return shelf.jobs.workable(due, rules, {"kyc": state(well, now), "other": well}, batch, now=now)

    return of


def test_those_of_the_due_ones_are_found_in_their_order_by_the_budget_that_they_share(workable):
    assert workable(lambda well, _: well, "shares", "other", "kyc") == ["kyc", "other", "shares"]
    assert workable(lambda well, now: replace(well, stopped_at=now), "shares", "other", "kyc") == ["other"]
    assert workable(lambda well, _: well) == []


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({"blocked_until": TICK}, False),
        ({"blocked_until": timedelta(0)}, True),
        ({"stopped_at": timedelta(0)}, False),
        ({"stopped_at": timedelta(0), "asks_again_at": TICK}, False),
        ({"stopped_at": timedelta(0), "asks_again_at": timedelta(0)}, True),
    ],
)
def test_one_that_is_paused_or_stopped_is_not_woken(workable, changes, works):
    def state(well, now):
        return replace(well, **{name: now + after for name, after in changes.items()})

    assert workable(state, "kyc") == ["kyc"] * works


def used_up(well, now):
    return at_cap(replace(well, credits_used=3), BudgetRule("kyc", credits=3), now=now)


def test_at_the_cap_one_is_woken_for_a_look_up_alone(shelf, workable):
    assert workable(used_up, "kyc") == []
    shelf.set(Job, needs_status_check=True)
    assert workable(used_up, "kyc") == ["kyc"]
    assert workable(used_up, "kyc", batch=shelf.row(Job).batch_id) == ["kyc"]
    assert workable(used_up, "kyc", batch=shelf.row(Job).batch_id + 1) == []
    assert workable(lambda well, now: replace(used_up(well, now), blocked_until=now + TICK), "kyc") == []
    assert workable(lambda well, now: replace(well, credits_used=3, stopped_at=now), "kyc") == []


def test_one_that_has_used_its_credits_up_is_woken_to_find_that_out(workable):
    assert workable(lambda well, _: replace(well, credits_used=3), "kyc") == ["kyc"]
