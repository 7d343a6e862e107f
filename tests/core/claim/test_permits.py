"""The rows of permits: when they are read and renewed, whose they are, and what a claim may bring under them."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim import leases
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.leases import Permits
from onboarding_worker.core.database.tables import Permit
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import customer
from tests.stored.statements import statements
from tests.stored.steps import JobSteps

pytestmark = pytest.mark.both_databases

LEASE, SECOND, TICK = timedelta(minutes=1), timedelta(seconds=1), timedelta(microseconds=1)
RULE = BudgetRule("kyc", concurrency=10)
ASK_AGAIN, RENEW_AFTER = timedelta(milliseconds=200), timedelta(seconds=5)
MOST_PER_PERMIT = 60


def hold(shelf, permits, *, owner="a", rule=RULE, busy=0, is_locked=False, after=timedelta(0)):
    """The permits, and whether the budget is locked."""
    with shelf.database.write() as connection:
        if is_locked:
            budgets.lock(connection, rule)
        found = permits.hold(connection, rule, owner, lease=LEASE, busy=busy, now=shelf.clock() + after)
        return found, budgets.is_locked(connection, rule.name)


def held(shelf, budget="kyc"):
    return {row.owner: (row.permits, row.until - shelf.clock()) for row in shelf.rows(Permit, budget=budget)}


def add(shelf, *rows):
    with shelf.database.write() as connection:
        for budget, owner, permits, ends_in in rows:
            values = {"budget": budget, "owner": owner, "permits": permits, "until": shelf.clock() + ends_in}
            connection.execute(sa.insert(Permit).values(values))


@pytest.mark.parametrize(
    ("after", "read"), [(-TICK, True), (timedelta(0), False), (ASK_AGAIN - TICK, False), (ASK_AGAIN, True)]
)
def test_permits_are_remembered_for_a_moment(shelf, after, read):
    mine = Permits()
    first, _ = hold(shelf, mine)
    with statements(shelf.database) as made:
        assert hold(shelf, mine, busy=3, after=after)[0].use == first.use
    assert any("permit" in text for text in made) is read


@pytest.mark.parametrize(
    ("after", "busy", "renewed"),
    [(RENEW_AFTER - TICK, 4, None), (RENEW_AFTER, 4, (8, LEASE)), (RENEW_AFTER - TICK, 8, (10, LEASE))],
)
def test_permits_are_written_anew_when_they_change_or_are_some_seconds_old(shelf, after, busy, renewed):
    mine = Permits()
    hold(shelf, mine)
    locked = hold(shelf, mine, busy=busy, after=after)[1]
    permits, left = renewed or (8, LEASE - after)
    assert held(shelf) == {"a": (permits, left + after)}
    assert locked is (renewed is not None)


def test_the_budget_is_locked_for_new_permits_unless_it_is_already(shelf):
    for owner, is_locked in (("a", False), ("b", True)):
        with statements(shelf.database) as made:
            assert hold(shelf, Permits(), owner=owner, is_locked=is_locked)[1]
        assert len([text for text in made if "FROM budget" in text]) == 1
    assert set(held(shelf)) == {"a", "b"}


def test_new_permits_replace_their_owners_own_and_those_that_are_over_in_this_budget_alone(shelf):
    others = [
        ("kyc", "a", 1, LEASE),
        ("kyc", "over", 2, timedelta(0)),
        ("kyc", "live", 3, TICK),
        ("au", "a", 4, LEASE),
        ("au", "over", 5, timedelta(0)),
    ]
    add(shelf, *others)
    assert leases.in_use(shelf.database, now=shelf.clock()) == {"kyc": 4, "au": 4}
    mine = Permits()
    granted, _ = hold(shelf, mine)
    assert held(shelf) == {"a": (granted.keep, LEASE), "live": (3, TICK)}
    assert held(shelf, "au") == {"a": (4, LEASE), "over": (5, timedelta(0))}
    with shelf.database.write() as connection:
        mine.release(connection, RULE, "a")
        mine.release(connection, RULE, "live")  # not of this process
    assert (set(held(shelf)), set(held(shelf, "au"))) == ({"live"}, {"a", "over"})


def test_a_dispatcher_is_new_until_it_has_permits_and_again_once_it_has_released_them(shelf):
    mine = Permits()
    own = replace(RULE, each_process=True)
    assert [mine.is_new(rule, "a") for rule in (RULE, own)] == [True, False]
    hold(shelf, mine)
    assert [mine.is_new(rule, "a") for rule in (RULE, replace(RULE, name="au"))] == [False, True]
    assert mine.is_new(RULE, "b")
    with shelf.database.write() as connection:
        mine.release(connection, RULE, "a")
    assert mine.is_new(RULE, "a")
    assert hold(shelf, mine, rule=own) == (None, False)


@pytest.mark.parametrize(
    ("others", "busy", "opened"), [(0, 0, 5), (0, 8, 5), (0, 9, 0), (9, 0, 5), (9, 1, 5), (9, 2, 0), (10, 0, 0)]
)
def test_a_claim_brings_rows_only_with_a_permit_for_each_call_in_flight(shelf, others, busy, opened):
    policy = shelf.ruled(concurrency=10)
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    jobs = JobSteps(shelf.database, shelf.keyring, jitter=lambda: 0.0)
    if others:
        add(shelf, ("kyc", "z", others, LEASE))
    found = jobs.claim(policy, most=99, busy=busy, now=shelf.clock())
    assert len(found.jobs) == opened
    assert found.again_at == (None if opened else shelf.clock() + ASK_AGAIN)


@pytest.mark.parametrize(
    ("room", "permits", "opened"),
    [(Room(2, 0), 400, 2), (Room(99, 0), 1, MOST_PER_PERMIT), (Room(0, 99), 1, 0), (Room(0, 0), 400, 0)],
)
def test_a_claim_brings_no_more_rows_than_are_asked_for_or_than_its_permits_can_work(shelf, room, permits, opened):
    shelf.add(*(customer(f"C{number}") for number in range(MOST_PER_PERMIT + 3)))
    policy = shelf.ruled(concurrency=permits)
    assert len(shelf.jobs.flush(policy, [], room, clock=shelf.clock).opened) == opened


@pytest.mark.parametrize(("others", "slow", "apart"), [(1, False, 2), (1, True, 1), (0, False, 1)])
def test_every_other_slot_is_left_out_for_other_workers_unless_it_would_pass_before_they_claim(
    shelf, others, slow, apart
):
    policy = shelf.ruled(concurrency=10, limits=(Limit(200, SECOND),))
    shelf.add(*(customer(f"C{number}") for number in range(4)))
    if others:
        add(shelf, ("kyc", "z", others, LEASE))
    room = Room(4, 0, horizon=SECOND, slow=slow)
    slots = shelf.jobs.flush(policy, [], room, clock=shelf.clock).slots
    assert [later - slot for slot, later in pairwise(slots)] == [apart * SECOND / 200] * 3
