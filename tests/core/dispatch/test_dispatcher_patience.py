"""How long a dispatcher stays, what it says of itself meanwhile, and slots under limits and databases that are slow."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.dispatch.dispatcher import LINGER
from onboarding_worker.core.rules.limits import Limit
from tests.simulated.bench import EVENTS, MINUTE, UNREACHABLE

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("stay", [0, 3])
async def test_after_an_event_a_dispatcher_stays_for_a_while_and_after_a_lists_row_it_ends(bench, stay):
    rows = bench.rows(0)
    rows.waiting = [EVENTS]
    await bench.run(rows, stay=stay * SECOND)
    assert stay <= bench.clock.elapsed <= stay + LINGER.total_seconds() + 0.2
    began = bench.clock.elapsed
    await bench.run(bench.rows(1), stay=stay * SECOND)
    assert bench.clock.elapsed - began < 0.2


async def test_a_dispatcher_that_stays_ends_at_once_when_it_is_told_that_the_process_ends(bench):
    rows = bench.rows(0)
    rows.waiting = [EVENTS]
    dispatcher = bench.dispatcher(rows, stay=9 * SECOND)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1.5)
    bench.stopping.set()
    dispatcher.look_again()
    before = bench.clock.elapsed
    await going
    assert bench.clock.elapsed - before < 0.1


async def test_a_dispatcher_says_what_keeps_it_from_ending(bench):
    rows = bench.rows(3, latency={0: 2, 1: 2, 2: 0.1})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1)
    assert dispatcher.unfinished == "2 calls in flight"
    rows.finish_errors = [UNREACHABLE] * 3
    await asyncio.sleep(1.5)
    assert dispatcher.unfinished == "results to write"
    await going
    assert dispatcher.unfinished == "its last step"


@pytest.mark.parametrize("limit", ["1060/hour", "1/second", "5/second"])
@pytest.mark.parametrize("seconds", [0.01, 1.2, 2.5])
async def test_no_call_leaves_before_its_slot_however_slow_the_database_is(bench, limit, seconds):
    bench.database_seconds = seconds
    rows = bench.rows(9, limit=Limit.parse(limit))
    rows.waiting += range(EVENTS, EVENTS + 3)
    await bench.run(rows, longest=60 * MINUTE)
    assert rows.delays
    assert min(rows.delays) >= timedelta(0)


async def test_calls_that_wait_for_their_slots_are_made_though_the_limit_was_taken_away_meanwhile(bench):
    rows = bench.rows(12, limit=Limit.parse("50/second"), permits=6)
    claim = rows.claim
    rows.claim = lambda room, now: replace(claim(room, now), spacing=timedelta(0))
    going = asyncio.create_task(bench.run(rows))
    await asyncio.wait([going], timeout=9)
    assert sorted(rows.numbers("done")) == list(range(12))
    assert min(rows.delays) >= timedelta(0)
    assert bench.clock.elapsed < 1
