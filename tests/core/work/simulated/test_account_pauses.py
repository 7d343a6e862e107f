"""Answers that concern the whole account: it is paused or stopped, its rows wait, and one call goes ahead."""

import asyncio
from itertools import pairwise

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.limits import LAPSE
from onboarding_worker.providers.contract import Broken, HttpAnswer
from tests.simulated.world import LIMITED, REFUSED, customer


async def test_after_a_429_no_call_begins_until_the_time_it_named(make):
    begun = []

    def answer(_):
        begun.append(world.clock())
        return LIMITED if len(begun) == 13 else world.session()

    world = make(answer, concurrency=5)
    world.add_many(60)
    await world.issue()
    first = len(begun)
    assert 13 <= first <= 17
    assert world.states() == {"issued": first - 1, "waiting": 60 - first + 1}
    waited = [row for row in world.rows(Job) if row.waits]
    assert [(row.waits, row.attempts, row.reason) for row in waited] == [(1, 0, "rate_limited")]
    assert {row.attempts for row in world.rows(Job) if row.state is JobState.WAITING} == {0}

    paused_until = world.budget().blocked_until
    world.clock.advance(seconds=28)
    await world.issue()
    assert len(begun) == first
    world.clock.advance(seconds=2)
    await world.issue()
    assert min(begun[first:]) >= paused_until
    assert world.states() == {"issued": 60}
    assert (world.budget().pauses, world.budget().pause_reason) == (0, "")


async def test_after_a_pause_one_call_goes_first(make):
    most_before_the_first_came_back = []

    async def answer(_):
        number = len(world.http.requests)
        if number == 1:
            return LIMITED
        await asyncio.sleep(0.5)
        if number == 2:
            most_before_the_first_came_back.append(world.http.in_flight)
        return world.session()

    world = make(answer)
    world.add_many(1)
    await world.issue()
    world.add_many(20, "D")
    world.clock.advance(seconds=31)
    await world.issue()
    await world.work()
    assert most_before_the_first_came_back == [1]
    assert world.states() == {"invited": 21}


async def test_a_rate_limit_never_sends_a_row_to_failed(make):
    world = make([LIMITED] * 40)
    world.add_many(1)
    for _ in range(40):
        await world.issue()
        world.clock.advance(minutes=11)
    assert (world.job("C000").waits, world.job("C000").attempts) == (40, 0)
    await world.issue()
    assert world.states() == {"issued": 1}


async def test_refused_credentials_stop_the_account_and_leave_everything_waiting(make):
    world = make(lambda _: REFUSED, concurrency=3)
    batch = world.add_many(25)
    await world.issue()
    assert len(world.asked) <= 3
    assert world.states() == {"waiting": 25}
    assert {row.attempts for row in world.rows(Job)} == {0}
    assert (world.budget().stop_reason, world.budget().stopped_at is not None) == (
        "HTTP 401 (the credentials are refused)",
        True,
    )
    world.clock.advance(minutes=4)
    asked = len(world.asked)
    assert not await world.tick()
    await world.issue()
    assert len(world.asked) == asked
    assert sum(world.parts.facts.counts(batch).waiting.values()) == 25


async def test_a_wait_of_weeks_is_a_mistake_and_one_call_goes_ahead_after_the_longest_documented_one(make):
    weeks = HttpAnswer(429, {"retry-after": "3600000"})
    world = make([weeks, weeks], concurrency=1)
    world.add_many(9)
    await world.work()
    asked = [len(world.asked)]
    for _ in range(2):
        world.clock.advance(minutes=61)
        await world.work()
        asked.append(len(world.asked))
    assert asked == [1, 2, 11]
    assert world.states() == {"invited": 9}


@pytest.mark.parametrize("limits", [[], ["20/second"]])
async def test_a_refused_key_is_tried_again_every_few_minutes_with_one_call_until_it_is_accepted(make, limits):
    accepted = []
    world = make(lambda _: world.session() if accepted else REFUSED, concurrency=1, limits=limits)
    world.add_many(9)
    await world.issue()
    asked = [len(world.asked)]
    for _ in range(3):
        world.clock.advance(minutes=5)
        await world.work()
        asked.append(len(world.asked))
    assert [later - earlier for earlier, later in pairwise(asked)] == [1, 1, 1]
    accepted.append(True)
    world.clock.advance(minutes=5)
    await world.work()
    assert world.states() == {"invited": 9}
    assert (world.budget().stopped_at, world.budget().asks_again_at) == (None, None)


async def test_a_refused_key_is_tried_at_once_with_the_next_row_where_the_connection_of_the_first_came_too_late(make):
    accepted, cold = [], []
    world = make(lambda _: world.session() if accepted else REFUSED, limits=["20/second"])
    call = world.http.call

    async def stalled(request, *, timeout, may_write):  # noqa: ASYNC109  # as Http's
        if cold:
            await asyncio.sleep(cold.pop())
            assert not may_write(True)
            return Broken(sent=False, detail="too late")
        return await call(request, timeout=timeout, may_write=may_write)

    world.http.call = stalled
    world.add_many(3)
    await world.issue()
    accepted.append(True)
    cold.append(LAPSE.total_seconds() + 0.1)
    world.clock.advance(minutes=5)
    await world.work()
    assert cold == []
    assert world.states() == {"invited": 3}


async def test_a_key_that_is_refused_keeps_one_row_to_try_it_with_while_another_account_takes_over(make):
    accepted = []
    world = make(lambda request: world.session() if accepted or b"au" in request.body else REFUSED, route=["kyc", "au"])
    world.add_many(9, others=("au",))
    await world.issue()
    await world.work()
    assert set(world.states()) <= {"invited", "waiting"}
    accepted.append(True)
    world.add(customer("Ona"), others=("au",))
    world.clock.advance(minutes=5)
    await world.work()
    assert world.budget().stopped_at is None


async def test_a_resumed_account_is_tried_with_one_call(make):
    world = make([REFUSED], concurrency=1)
    world.add_many(9)
    await world.issue()
    world.parts.budgets.resume("kyc")
    await world.issue()
    await world.work()
    assert world.states() == {"invited": 9}


async def test_out_of_credit_stops_the_account_too(make):
    world = make(lambda _: HttpAnswer(402))
    world.add_many(5)
    await world.issue()
    assert world.budget().stop_reason == "HTTP 402 (no credit is left)"
    assert world.states() == {"waiting": 5}


async def test_a_secret_that_was_replaced_in_its_file_is_tried_before_the_account_stops(make):
    world = make([REFUSED], concurrency=1)
    world.provider.reloads = [True]
    world.add_many(4)
    await world.issue()
    assert world.states() == {"issued": 3, "waiting": 1}
    assert world.budget().stopped_at is None
    world.clock.advance(minutes=1)
    await world.issue()
    assert world.states() == {"issued": 4}
    assert world.asked[0] == world.asked[4]  # the refused call, once more


async def test_a_replaced_secret_that_is_refused_as_well_stops_the_account(make):
    world = make([REFUSED, REFUSED], concurrency=1)
    world.provider.reloads = [True]
    world.add_many(4)
    await world.issue()
    assert len(world.asked) == 2
    assert world.budget().stopped_at is not None


async def test_with_a_cap_on_credits_no_further_call_is_made_and_the_reason_is_shown(make):
    world = make(more="credits = 7")
    world.add_many(20)
    await world.work()
    assert len(world.asked) == 7
    assert world.states() == {"invited": 7, "waiting": 13}
    assert world.budget().stop_reason == "the cap of 7 credits is used up"


async def test_rows_wait_for_an_account_that_cannot_be_reached_and_spend_no_attempts(make):
    away = [True]

    def answer(_):
        nowhere = Broken(sent=False, detail="connection refused or not possible")
        return nowhere if away[0] else world.session()

    world = make(answer)
    world.add_many(30)
    for _ in range(20):
        await world.work()
        world.clock.advance(minutes=11)
    assert len(world.asked) < 60
    assert {(row.state, row.attempts) for row in world.rows(Job)} == {(JobState.WAITING, 0)}
    assert "unreachable" in {row.reason for row in world.rows(Job)}
    away[0] = False
    await world.work()
    assert world.states() == {"invited": 30}
