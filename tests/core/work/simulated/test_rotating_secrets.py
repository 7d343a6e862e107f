"""A secret that is replaced in its file while calls are in flight, until the account would stop."""

import asyncio

from onboarding_worker.providers.contract import HttpAnswer
from tests.simulated.world import REFUSED


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


async def test_all_calls_in_flight_with_the_old_secret_are_made_again_with_the_new_as_calls_of_their_own(make):
    world, rotated = rotating(make, refusal=1.0)
    world.add_many(8)
    await world.issue()
    assert world.budget().stopped_at is None
    world.clock.advance(minutes=1)
    await world.issue()
    assert world.states() == {"issued": 8}
    assert (rotated.keys.count("1"), rotated.keys.count("2")) == (8, 8)
    assert len(world.attempts()) == 16  # one for each call: it has a slot, and none is made while all is stopped


async def test_the_call_that_finds_out_whether_a_stopped_account_works_again_has_the_new_secret(make):
    world, rotated = rotating(make)
    world.provider.reloads = []
    world.add_many(3)
    await world.issue()
    assert world.budget().stopped_at is not None
    world.provider.reloads = [True]
    world.parts.budgets.resume("kyc", by_person_at=world.clock())
    await world.issue()
    assert world.states() == {"issued": 3}
    assert rotated.keys.count("2") == 3


async def test_a_new_secret_that_is_refused_as_well_stops_the_account_after_two_calls(make):
    world = make(lambda _: HttpAnswer(401, {}), concurrency=1)
    world.provider.reloads = [True]
    world.add_many(3)
    await world.issue()
    assert len(world.asked) == 2
    assert world.budget().stop_reason == "HTTP 401 (the credentials are refused)"
