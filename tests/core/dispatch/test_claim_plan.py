"""When a dispatcher claims next, after what its claims have found and what it was woken for."""

from datetime import timedelta

import pytest

from onboarding_worker.core.dispatch.prefetch import ClaimPlan, SteadyTime

SECOND, CLAIM_EVERY = timedelta(seconds=1), timedelta(milliseconds=200)


@pytest.fixture
def woken():
    return []


@pytest.fixture
async def time(clock):
    return SteadyTime(clock)


@pytest.fixture
async def plan(time, woken):
    return ClaimPlan(time, lambda: woken.append(True))


def claimed(plan, time, again_in, *, found, asked=5, for_events=False):
    plan.begins(for_events=for_events)
    again_at = None if again_in is None else time() + again_in
    plan.ends(again_at, found=found, asked=asked, for_events=for_events)


async def test_a_time_of_the_clock_is_so_long_from_now_whatever_the_clock_says(time, clock):
    assert time.of(clock() + SECOND) == time() + SECOND
    assert time.of(clock() - SECOND) == time() - SECOND
    before = time()
    clock.advance(seconds=3)
    assert time() - before == 3 * SECOND


async def test_the_first_claim_is_due_at_once_and_the_next_one_when_the_last_says_so(plan, time, clock):
    assert plan.at == time()
    plan.begins(for_events=False)
    assert plan.at is None
    for again_in, found, more_due in [
        (None, 0, False),
        (5 * SECOND, 0, False),
        (5 * SECOND, 3, True),
        (None, 3, False),
    ]:
        claimed(plan, time, again_in, found=found)
        assert plan.at == (None if again_in is None else time() + again_in)
        assert plan.more_due is more_due
        clock.advance(seconds=60)


async def test_while_a_claim_is_under_way_the_next_one_is_guessed_from_the_last_that_left_rows(plan, time, clock):
    claimed(plan, time, 5 * SECOND, found=3)
    clock.advance(seconds=5)
    plan.begins(for_events=False)
    assert plan.at == time() + 5 * SECOND
    plan.claim_by(time() + SECOND)
    assert plan.at == time() + SECOND
    plan.claim_by(time() + 9 * SECOND)
    assert plan.at == time() + SECOND
    plan.ends(None, found=3, asked=5, for_events=False)
    assert plan.at == time() + SECOND  # it was planned meanwhile, for newer rows
    for again_in, found in [(None, 3), (5 * SECOND, 0)]:
        claimed(plan, time, again_in, found=found)
        plan.begins(for_events=False)
        assert plan.at is None


async def test_other_workers_are_woken_once_by_the_first_claim_that_leaves_rows_for_now(plan, time, woken):
    for again_in, found, times in [
        (SECOND, 5, 0),
        (timedelta(0), 0, 0),
        (None, 5, 0),
        (timedelta(0), 5, 1),
        (-SECOND, 5, 1),
    ]:
        claimed(plan, time, again_in, found=found)
        assert len(woken) == times


async def test_a_wake_up_for_batch_rows_plans_a_claim_some_time_after_the_last(plan, time, clock):
    claimed(plan, time, None, found=0)
    claimed_at = time()
    clock.advance(seconds=0.05)
    plan.follow_wake_ups()
    assert plan.at is None
    plan.wake(for_events=False)
    assert (plan.woken_for_batches, plan.woken_for_events, plan.at) == (True, False, None)
    plan.follow_wake_ups()
    assert (plan.woken_for_batches, plan.at) == (False, claimed_at + CLAIM_EVERY)


async def test_a_wake_up_for_events_is_over_when_a_claim_begins_and_plans_none_of_batch_rows(plan, time):
    for for_events in (False, True):
        claimed(plan, time, None, found=0)
        plan.wake(for_events=True)
        plan.follow_wake_ups()
        assert (plan.woken_for_events, plan.woken_for_batches, plan.at) == (True, False, None)
        plan.begins(for_events=for_events)
        assert not plan.woken_for_events


async def test_a_claim_of_events_alone_is_followed_by_one_of_batch_rows(plan, time, clock):
    claimed(plan, time, None, found=0)
    claimed_at = time()
    clock.advance(seconds=0.05)
    plan.begins(for_events=True)
    assert plan.at == claimed_at + CLAIM_EVERY
    for again_in, at in [(3 * SECOND, 3 * SECOND), (timedelta(0), CLAIM_EVERY - timedelta(seconds=0.05)), (None, None)]:
        claimed(plan, time, None, found=0)
        claimed_at = time()
        clock.advance(seconds=0.05)
        again_at = None if again_in is None else time() + again_in
        plan.ends(again_at, found=1, asked=2, for_events=True)
        assert plan.at == (None if at is None else time() + at)
        assert not plan.woken_for_events


@pytest.mark.parametrize(("found", "more"), [(4, False), (5, True), (6, True)])
async def test_a_claim_that_found_as_many_events_as_it_asked_for_is_followed_by_another_one(plan, time, found, more):
    claimed(plan, time, None, found=found, for_events=True)
    assert plan.woken_for_events is more
    claimed(plan, time, None, found=found)
    assert not plan.woken_for_events
