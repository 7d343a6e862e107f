"""A secret that is replaced in its file while calls are in flight, until the account would stop."""

import asyncio
from datetime import timedelta

from tests.simulated.world import REFUSED
from worker.providers.contract import HttpAnswer
from worker.store.tables import Job


class Rotated:
    """A provider that accepts only the new secret, and records when it was called with which secret."""

    def __init__(self, world, *, refusal=0.0):
        self.world = world
        self.refusal = refusal  # seconds
        self.keys = []

    async def __call__(self, request):
        self.keys.append(request.headers["key"])
        if request.headers["key"] == "1":
            await asyncio.sleep(self.refusal)
            return REFUSED
        return self.world.session()


def rotating(make, **how):
    world = make(lambda request: rotated(request), concurrency=8)
    world.provider.reloads = [True]
    rotated = Rotated(world, **how)
    return world, rotated


async def test_all_calls_in_flight_with_the_old_secret_are_repeated_once_with_the_new(make):
    world, rotated = rotating(make, refusal=1.0)
    world.add_many(8)
    await world.issue()
    assert world.states() == {"issued": 8}
    assert world.budget().stopped_at is None
    assert (rotated.keys.count("1"), rotated.keys.count("2")) == (8, 8)
    assert {row.attempts for row in world.rows(Job)} == {1}


async def test_both_calls_share_one_time_out(make):
    world, _ = rotating(make, refusal=4.0)
    given = []
    call = world.http.call

    async def noted(request, *, timeout, **more):  # noqa: ASYNC109  # as Http's
        given.append(timeout)
        return await call(request, timeout=timeout, **more)

    world.http.call = noted
    world.add_many(1)
    await world.issue()
    assert world.states() == {"issued": 1}
    assert given == [timedelta(seconds=10), timedelta(seconds=6)]


async def test_a_refusal_that_took_most_of_the_time_out_is_followed_by_a_call_of_its_own_later(make):
    world, rotated = rotating(make, refusal=6.0)
    world.add_many(1)
    await world.issue()
    assert world.budget().stopped_at is None
    assert rotated.keys == ["1"]
    world.clock.advance(minutes=1)
    await world.issue()
    assert rotated.keys == ["1", "2"]
    assert world.states() == {"issued": 1}


async def test_a_new_secret_that_is_refused_as_well_stops_the_account_after_two_calls(make):
    world = make(lambda _: HttpAnswer(401, {}), concurrency=1)
    world.provider.reloads = [True]
    world.add_many(3)
    await world.issue()
    assert len(world.asked) == 2
    assert world.budget().stop_reason == "HTTP 401 (the credentials are refused)"
