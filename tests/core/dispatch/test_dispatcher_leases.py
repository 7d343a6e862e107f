"""Which rows a dispatcher calls under their leases, and what it does about leases that are over."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_worker.core.dispatch.prefetch import FLUSH_EVERY
from onboarding_worker.core.rules.limits import Limit
from tests.simulated.bench import EVENTS, MINUTE, UNREACHABLE


async def test_no_call_is_made_that_could_outlive_its_lease(bench):
    rows = bench.rows(1, lease=timedelta(seconds=9))  # the longest call takes ten
    await bench.run(rows, longest=timedelta(seconds=0.5))
    assert (rows.numbers("call"), rows.waiting) == ([], [0])


async def test_as_many_rows_are_claimed_as_can_be_called_soon(bench):
    """One for each permit; with short calls also as many as will be called until the next flush has ended."""
    rows = bench.rows(100, permits=3, latency=dict.fromkeys(range(100), 1.0))
    await bench.run(rows)
    assert max(rows.claims) <= 4
    rows = bench.rows(100, permits=3, latency=dict.fromkeys(range(100), 0.02))
    await bench.run(rows)
    assert 6 <= max(rows.claims) <= 3 + 3 * (2 * FLUSH_EVERY).total_seconds() / 0.02


async def test_the_lease_is_checked_again_immediately_before_the_call(bench):
    rows = bench.rows(1, lease=timedelta(seconds=10.07), limit=Limit.parse("10/second"), horizon=2 * FLUSH_EVERY)
    rows.next_at = bench.clock() + 2 * FLUSH_EVERY
    bench.database_seconds = 0.02
    await bench.run(rows)
    assert [what for what, _ in rows.log][:2] == ["open", "not made"]
    assert rows.log.index(("call", 0)) > rows.log.index(("open", 0), 1)  # under the next lease, in the same slot


@pytest.mark.parametrize("seconds", [19.91, 19.95, 19.99])
async def test_a_call_that_is_not_made_keeps_no_other_call_from_its_slot(bench, seconds):
    """An answer halts the account while the next call waits for its slot, and what it was about is over at once."""
    rows = bench.rows(2, limit=Limit.parse("3/minute"), latency={0: seconds}, answers={0: "blip"})
    await bench.run(rows)
    assert timedelta(seconds=20) <= rows.begun[1] - rows.begun[0] < timedelta(seconds=21)
    assert len(rows.numbers("open")) <= 4


@pytest.mark.parametrize("seconds", [1, 60])  # past the slots alone, and past the leases too
async def test_after_a_standstill_a_dispatcher_makes_none_of_the_calls_that_waited_for_their_slots(bench, seconds):
    """A process was suspended (SIGSTOP), or its machine was: the clock jumps, and there is no other sign."""
    rows = bench.rows(20, limit=Limit.parse("50/second"), lease=timedelta(seconds=30), latency={0: 0.01})
    dispatcher = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.15)
    waited = set(rows.numbers("open")) - set(rows.numbers("call"))
    bench.clock.advance(seconds=seconds)
    await dispatcher
    assert len(waited) > 1
    assert set(rows.numbers("not made")) == waited


async def test_rows_whose_leases_ended_while_the_machine_stood_still_with_its_clock_are_released(bench):
    """Only the database's time shows it; the rows may be another worker's by now."""
    rows = bench.rows(3)
    times = iter([MINUTE * 2])
    rows.database_time = lambda: bench.clock() + next(times, timedelta(0))
    await bench.run(rows)
    assert rows.numbers("release") == [0, 1, 2]
    assert sorted(rows.numbers("call")) == sorted(rows.numbers("done")) == [0, 1, 2]


async def test_rows_that_waited_for_their_slots_while_the_machine_stood_still_are_not_called(bench):
    """Their leases were good after the flush that opened them. The next flush opens nothing, and shows their end."""
    rows = bench.rows(3, limit=Limit.parse("5/second"), horizon=timedelta(seconds=1), latency={0: 0.01})
    times = iter([timedelta(0), MINUTE * 2])
    rows.database_time = lambda: bench.clock() + next(times, timedelta(0))
    await bench.run(rows)
    assert rows.numbers("open")[:3] == [0, 1, 2]
    assert all(rows.log.index(("not made", number)) < rows.log.index(("call", number)) for number in (1, 2))
    assert sorted(rows.numbers("done")) == [0, 1, 2]


async def test_rows_are_released_if_the_database_is_lost_when_it_is_asked_for_its_time(bench):
    rows = bench.rows(3)
    away = [True]

    def time():
        if away and away.pop():
            raise UNREACHABLE
        return bench.clock()

    rows.database_time = time
    await bench.run(rows)
    assert rows.numbers("release") == [0, 1, 2]
    assert sorted(rows.numbers("done")) == [0, 1, 2]


async def test_rows_whose_leases_ended_before_an_events_was_opened_are_not_called(bench):
    """The event's own lease is good: it began later."""
    rows = bench.rows(3, limit=Limit.parse("1/second"), horizon=timedelta(seconds=3), latency={0: 0.01})
    off_by = [timedelta(0)]
    rows.database_time = lambda: bench.clock() + off_by[0]
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.5)
    assert rows.numbers("open") == [0, 1, 2]
    off_by[0] = rows.lease - timedelta(seconds=0.2)
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await asyncio.sleep(0.2)
    off_by[0] = timedelta(0)
    await going
    assert set(rows.numbers("not made")) == {1, 2}
    assert sorted(rows.waiting) == sorted({1, 2, EVENTS} - set(rows.numbers("call")))
