"""The exact times up to which a call is made, and what a dispatcher writes and returns when little is left."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.metrics import WorkMeter
from onboarding_worker.core.rules.limits import Limit
from tests.simulated.bench import BAD_ROW, EVENTS, MINUTE, Result
from tests.simulated.virtual_time import START

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(("more", "made"), [(timedelta(0), True), (-MICROSECOND, False)])
async def test_a_call_is_made_if_its_lease_is_as_long_as_the_longest_call(bench, more, made):
    rows = bench.rows(1, lease=timedelta(seconds=10) + more)
    await bench.run(rows, longest=timedelta(seconds=0.5))
    assert rows.numbers("call") == [0] * made


@pytest.mark.parametrize(("more", "released"), [(timedelta(0), [0]), (-MICROSECOND, [])])
async def test_a_lease_is_over_at_its_end_by_the_databases_time(bench, more, released):
    rows = bench.rows(1)
    claim, ends = rows.claim, []

    def noted(room, now):
        flushed = claim(room, now)
        ends.extend(each.lease_until + more for each in flushed.opened)
        return flushed

    rows.claim = noted
    rows.database_time = lambda: ends.pop() if len(rows.numbers("open")) == 1 and ends else bench.clock()
    await bench.run(rows)
    assert rows.numbers("release") == released
    assert rows.numbers("done") == [0]


@pytest.mark.parametrize(("seconds", "skipped"), [(0.21, True), (0.211, False)])
async def test_a_call_is_made_before_the_end_of_its_credits_day(bench, seconds, skipped):
    """Its connection is there after 0.21 seconds."""
    rows = bench.rows(1, connecting=lambda: 0.2)
    rows.day_ends = bench.clock() + timedelta(seconds=seconds)
    await bench.run(rows)
    assert bool(rows.numbers("not made")) is skipped
    assert rows.numbers("call") == [0]


@pytest.mark.parametrize(("seconds", "made"), [(0.5, True), (0.5005, False)])
async def test_a_call_may_leave_until_half_a_second_after_its_slot(bench, seconds, made):
    rows = bench.rows(1, limit=Limit.parse("1/second"), connecting=lambda: seconds)
    await bench.run(rows, longest=timedelta(seconds=0.3))
    assert (rows.numbers("call"), bool(rows.numbers("not made"))) == (([0], False) if made else ([], True))


@pytest.mark.parametrize("each_second", [1, 20])
async def test_a_slot_that_only_a_wrong_clock_can_have_reserved_is_waited_for_once(bench, each_second):
    """For 1.55 seconds, as far as slots may be ahead. An event comes meanwhile."""
    rows = bench.rows(1, limit=Limit.parse(f"{each_second}/second"))
    claim = rows.claim

    def wrong(room, now):
        rows.claim = claim
        return replace(claim(room, now), slots=[now + timedelta(days=1)])

    rows.claim = wrong
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1.3)
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await going
    assert (rows.numbers("call"), rows.numbers("not made")) == ([EVENTS, 0], [])
    first, second = ((at - START).total_seconds() for at in rows.begun)
    assert first == pytest.approx(1.56, abs=0.0005)
    assert second - first < 1 / each_second + 0.05


@pytest.mark.parametrize(
    ("count", "limit", "longest", "more"),
    [(2, "1/minute", 60, False), (9, "2/second", 0.7, True), (1, "1/minute", 0.02, False), (1, None, 0.02, False)],
)
async def test_more_is_due_only_for_a_dispatcher_whose_time_was_up_before(bench, count, limit, longest, more):
    """What comes due later is the sweep's."""
    rows = bench.rows(count, limit=limit and Limit.parse(limit))
    assert await bench.run(rows, longest=timedelta(seconds=longest)) is more


async def test_no_call_that_waits_for_its_slot_is_made_once_a_claim_has_taken_the_permits(bench):
    rows = bench.rows(30, permits=9, limit=Limit.parse("4/second"), horizon=timedelta(seconds=2))
    rows.shares, claim, taken = [(0, 9), (1, 0), (4, 9)], rows.claim, []

    def noted(room, now):
        flushed = claim(room, now)
        taken.extend([bench.clock()] * (flushed.permits == 0))
        return flushed

    rows.claim = noted
    await bench.run(rows, longest=MINUTE)
    assert sorted(rows.numbers("done")) == list(range(30))
    assert [at for at in rows.begun if taken[0] < at < taken[-1]] == []
    assert taken[-1] - taken[0] > timedelta(seconds=2)


async def test_a_row_that_cannot_even_be_held_costs_no_other_result(bench):
    rows = bench.rows(9)
    finish = rows.finish

    def finish_others(results, now):
        if any(result.number == 4 for result in results):
            raise BAD_ROW
        finish(results, now)

    rows.finish = finish_others
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert rows.numbers("call") == list(range(9))
    assert rows.permits_released == 1


async def test_a_flush_counts_as_a_claim_if_it_claimed_and_else_as_one_of_results(bench):
    seconds = {"called": [], "claimed": [], "wrote": []}
    meter = WorkMeter(**{name: found.append for name, found in seconds.items()})
    await bench.dispatcher(bench.rows(0), meter=meter).run()
    assert [len(found) for found in seconds.values()] == [0, 1, 0]
    await bench.dispatcher(bench.rows(1), meter=meter).run()
    assert [len(found) for found in seconds.values()] == [1, 2, 1]
    assert (seconds["claimed"], seconds["wrote"]) == (pytest.approx([0.01] * 2), pytest.approx([0.01]))


async def test_a_claim_for_a_few_rows_goes_with_the_results_that_are_due(bench):
    rows = bench.rows(800, permits=40, latency={number: 0.05 + number % 7 / 100 for number in range(800)})
    await bench.run(rows)
    assert [results for results, room in rows.flushes[1:] if room is not None and not results] == []
    assert len(rows.flushes) < 60
    rows = bench.rows(200, permits=10, latency={number: 0.3 + number % 10 / 30 for number in range(200)})
    await bench.run(rows)
    assert len([room for _, room in rows.flushes if room is None]) < 30


class Refused(Result):
    @property
    def problem(self):
        return Problem(Kind.BAD_INPUT, "HTTP 422")


async def test_a_refusal_of_one_row_halts_no_other_call(bench):
    rows = bench.rows(20, limit=Limit.parse("50/second"), latency=dict.fromkeys(range(20), 0.01))
    call = rows.call

    async def refused(*arguments):
        result = await call(*arguments)
        return Refused(result.number, result.what) if result.number == 3 else result

    rows.call = refused
    await bench.run(rows)
    assert rows.numbers("call") == list(range(20))
    assert rows.numbers("not made") == []


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_call_that_fails_counts_as_a_call_only_if_it_was_written(bench, stopped):
    rows, called = bench.rows(1, connecting=lambda: 0.4), []
    call = rows.call

    async def fails(*arguments):
        await call(*arguments)
        raise ZeroDivisionError

    rows.call = fails
    meter = WorkMeter(called=called.append, claimed=lambda _: None, wrote=lambda _: None)
    going = asyncio.create_task(bench.dispatcher(rows, meter=meter).run())
    await asyncio.sleep(0.2)
    if stopped:
        bench.stopping.set()
    await going
    assert (len(called), rows.numbers("ZeroDivisionError")) == ((0, []) if stopped else (1, [0]))
