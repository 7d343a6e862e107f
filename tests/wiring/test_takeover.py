"""The sweep moves rows of an account in trouble to the next account, which gets a wake-up in the same sweep."""

from datetime import timedelta

from onboarding_worker.core.database.tables import Budget, Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.wiring.sweep import Sweep
from tests.simulated.world import FAILED, REFUSED

BOTH = ["kyc", "au"]


def accounts(world) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in world.rows(Job):
        counted[row.account] = counted.get(row.account, 0) + 1
    return counted


def open_breaker(world, *, blocked_for):
    now = world.clock()
    values = {"opened_at": now, "blocked_until": now + blocked_for, "pauses": 1, "failures": 5}
    world.set(Budget, Budget.name == "kyc", **values)


async def test_an_account_that_takes_rows_over_is_due_in_the_same_sweep(make):
    world = make(route=BOTH)
    world.add_many(20, others=("au",))
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    Sweep(world.parts).take_over()
    assert accounts(world) == {"au": 20}
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("au")]
    await world.work()
    assert world.states() == {"invited": 20}
    assert len(set(world.asked)) == len(world.asked) == 20
    assert {row.account for row in world.attempts()} == {"au"}


async def test_a_list_whose_first_account_refuses_our_credentials_is_served_by_the_second(make):
    world = make([REFUSED] * 8, route=BOTH, concurrency=8)  # all calls that begin before the first answer
    world.add_many(30, others=("au",))
    await world.work()
    assert world.states() == {"invited": 30}
    assert accounts(world) == {"au": 30}
    assert world.budget("kyc").stopped_at is not None


async def test_while_an_account_is_paused_there_is_no_takeover(make):
    world = make(route=BOTH)
    world.add_many(5, others=("au",))
    world.set(Budget, Budget.name == "kyc", blocked_until=world.clock() + timedelta(hours=1), pauses=1)
    await world.work()
    assert (accounts(world), world.asked) == ({"kyc": 5}, [])


async def test_a_row_stays_if_the_present_routes_name_no_other_account(make):
    world = make(route=["kyc"])
    world.add_many(5, others=("au",))
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    await world.work()
    assert accounts(world) == {"kyc": 5}


async def test_while_a_breaker_is_open_one_row_stays_to_test_whether_the_account_works_again(make):
    world = make(route=BOTH)
    open_breaker(world, blocked_for=timedelta(minutes=5))
    world.add_many(5, others=("au",))
    await world.work()
    assert accounts(world) == {"au": 5}
    world.clock.advance(minutes=4, seconds=55)
    world.add_many(5, "D", others=("au",))
    await world.work()
    assert accounts(world) == {"au": 9, "kyc": 1}
    world.clock.advance(seconds=5)
    await world.work()
    assert (world.states(), accounts(world)) == ({"invited": 10}, {"au": 9, "kyc": 1})


async def test_a_call_that_failed_for_certain_at_the_first_account_is_made_once_at_the_second(make):
    world = make([FAILED] * 5, route=BOTH)
    world.add_many(5, others=("au",))
    await world.issue()
    assert {row.state for row in world.rows(Job)} == {JobState.WAITING}
    open_breaker(world, blocked_for=timedelta(minutes=5))
    world.clock.advance(minutes=1)
    await world.work()
    assert (world.states(), accounts(world)) == ({"invited": 5}, {"au": 5})
    assert {row.attempts for row in world.rows(Job)} == {2}
