"""The order of a dispatcher's steps: what is claimed, opened, called and written, with how many permits and in which
slots."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import pytest

from onboarding_worker.core.dispatch.calls import CATCH_UP
from onboarding_worker.core.dispatch.prefetch import FLUSH_EVERY, MANY, OPEN_LEAST, OPEN_MOST
from onboarding_worker.core.rules.limits import LAPSE, Limit
from tests.simulated.bench import EVENTS, MINUTE
from tests.simulated.virtual_time import START

SECOND = timedelta(seconds=1)


async def test_every_row_is_opened_called_and_written_in_that_order(bench):
    rows = bench.rows(500)
    assert await bench.run(rows) is False
    for number in range(500):
        assert [what for what, of in rows.log if of == number] == ["open", "call", "answer", "done"]


async def test_no_more_calls_are_in_flight_than_there_are_permits(bench):
    rows = bench.rows(100, permits=7)
    await bench.run(rows)
    assert rows.most_calls == 7


async def test_a_dispatcher_keeps_to_the_permits_that_each_claim_grants(bench):
    latency = dict.fromkeys(range(200), 1.0)
    rows = bench.rows(200, permits=50, latency=latency, shares=[(0, 5), (3, 20), (6, 2)])
    going = asyncio.create_task(bench.run(rows))
    out = []
    for _ in range(9):
        await asyncio.sleep(0.9)
        out.append(rows.calls)
    assert max(out[:3]) == 5  # none of the fifty before the first claim said how many
    assert max(out[3:6]) == 20  # though all five were in use when more were granted
    assert out[8] <= 2
    bench.stopping.set()
    await going


async def test_a_dispatcher_without_permits_waits_until_it_has_some(bench):
    rows = bench.rows(10, shares=[(0, 0), (2, 10)])
    await bench.run(rows)
    assert len(rows.numbers("done")) == 10
    assert min(rows.begun) >= START + timedelta(seconds=2)


@pytest.mark.parametrize("how", ["ended", "broken"])
async def test_however_a_dispatcher_ends_it_releases_its_permits(bench, how):
    rows = bench.rows(10)
    if how == "broken":
        rows.claim = lambda _room, _now: 1 / 0
        with pytest.raises(ZeroDivisionError):
            await bench.run(rows)
    else:
        await bench.run(rows)
    assert rows.permits_released == 1


async def test_a_dispatcher_that_leaves_rows_to_be_claimed_at_once_wakes_other_workers_once(bench):
    woken = []
    rows = bench.rows(2000)
    going = asyncio.create_task(bench.run(rows, wake_others=lambda: woken.append(len(rows.claims))))
    await asyncio.sleep(0.5)
    assert woken == [1]  # after its first claim
    await going
    assert woken == [1]
    assert len(rows.claims) > 2


@pytest.mark.parametrize(("count", "limit"), [(10, None), (60, Limit.parse("20/second"))], ids=["all", "limited"])
async def test_a_dispatcher_that_has_claimed_all_or_waits_for_slots_wakes_no_other_worker(bench, count, limit):
    woken = []
    rows = bench.rows(count, limit=limit)
    await bench.run(rows, wake_others=lambda: woken.append(True))
    assert len(rows.numbers("done")) == count
    assert not woken


async def test_with_nothing_due_a_dispatcher_ends_at_once(bench):
    await bench.run(bench.rows(0))
    assert bench.clock.elapsed < 0.1


async def test_a_slow_call_delays_neither_the_other_calls_nor_their_results(bench):
    rows = bench.rows(50, permits=5, latency={0: 8})
    await bench.run(rows)
    answered = rows.begun[0] + timedelta(seconds=8)
    assert rows.written[0] >= answered
    assert max(rows.written[number] for number in range(1, 50)) < answered
    assert bench.clock.elapsed < 9


async def test_results_are_written_within_a_flush_while_calls_go_on(bench):
    rows = bench.rows(200, permits=4, latency=dict.fromkeys(range(200), 0.03))
    await bench.run(rows)
    for number in range(200):
        answered = rows.begun[rows.numbers("call").index(number)] + timedelta(seconds=0.03)
        assert rows.written[number] - answered < timedelta(milliseconds=200)


async def test_attempts_are_opened_in_chunks_while_many_calls_are_in_flight(bench):
    rows = bench.rows(400, permits=40, latency={number: 0.05 + number % 7 / 100 for number in range(400)})
    await bench.run(rows)
    assert sum(rows.chunks) == 400
    assert len(rows.chunks) < 80  # five or more together; one by one would cost more than the calls


@pytest.mark.parametrize("permits", [10, 40, 100])
async def test_permits_are_not_idle_while_rows_are_claimed_and_results_written(bench, permits):
    bench.database_seconds = 0.02
    rows = bench.rows(permits * 60, permits=permits)
    rows.latency = {number: 0.03 + number % 41 / 1000 for number in range(permits * 60)}
    await bench.run(rows)
    assert bench.clock.elapsed < 60 * 0.05 * 1.25  # if calls waited for flushes it would take half as long again


@pytest.mark.parametrize(("database_seconds", "most"), [(0.01, 1), (0.2, 2)])
async def test_two_flushes_are_under_way_only_where_flushes_take_long(bench, database_seconds, most):
    bench.database_seconds = database_seconds
    rows = bench.rows(900, permits=30, latency=dict.fromkeys(range(900), 0.01))
    under_way, counted = set(), []

    async def in_turn(function, *arguments):
        results, room = arguments[:2] if function == rows.flush else ([], None)
        if results or (room and room.rows):  # not one that looks for events alone
            under_way.add(id(arguments))
            counted.append(len(under_way))
        try:
            return await bench.in_thread(function, *arguments)
        finally:
            under_way.discard(id(arguments))

    await bench.dispatcher(rows, in_turn=in_turn).run()
    assert sorted(rows.numbers("done")) == list(range(900))
    assert max(counted) == most
    in_a_flush = 3000 * (FLUSH_EVERY + 3 * timedelta(seconds=database_seconds)).total_seconds()  # calls in this time
    assert rows.most_unknown <= 30 + in_a_flush


@pytest.mark.parametrize("seconds", [0, 0.001, 0.02, 0.4])
@pytest.mark.parametrize("permits", [3, 30, 100])
async def test_beyond_the_permits_as_many_rows_are_opened_as_are_called_until_the_next_flush(bench, permits, seconds):
    rows = bench.rows(permits * 30, permits=permits, latency=dict.fromkeys(range(permits * 30), seconds))
    await bench.run(rows)
    assert rows.most_calls == permits
    in_50_ms = permits * (int(FLUSH_EVERY.total_seconds() / seconds) + 1) if seconds else OPEN_MOST
    ends = in_50_ms if in_50_ms <= MANY else 2 * in_50_ms
    while_a_flush_is_under_way = ends * bench.database_seconds / FLUSH_EVERY.total_seconds()
    assert rows.most_waiting <= min(ends + while_a_flush_is_under_way, OPEN_MOST)


@pytest.mark.parametrize("database_seconds", [0.1, 0.2])
async def test_at_whatever_pace_a_kill_leaves_no_more_than_400_rows_in_doubt_beside_the_calls_in_flight(
    bench, database_seconds
):
    bench.database_seconds = database_seconds
    rows = bench.rows(6000, permits=50, latency=dict.fromkeys(range(6000), 0.001))
    await bench.run(rows)
    assert OPEN_MOST / 2 < rows.most_unknown <= OPEN_MOST + rows.permits


async def test_at_full_pace_a_second_flush_brings_rows_while_the_first_one_waits_for_the_database(bench):
    bench.database_seconds = 0.1
    rows = bench.rows(900, permits=50, latency=dict.fromkeys(range(900), 0.01))
    await bench.run(rows)
    assert bench.clock.elapsed < 9 * bench.database_seconds  # one flush at a time needs eleven


# By limit: how many calls it allows in the time from one flush to the next.
BETWEEN = {2: 3, 20: 3, 50: 5, 100: 10, 200: 20, 400: 20, 2000: 100}


@pytest.mark.parametrize("limit", BETWEEN)
@pytest.mark.parametrize("database_seconds", [0.002, 0.01, 0.04])
async def test_under_a_limit_the_rows_of_a_flush_wait_for_their_slots_and_its_results_are_not_written(
    bench, limit, database_seconds
):
    bench.database_seconds = database_seconds
    rows = bench.rows(
        min(limit * 5, 999), limit=Limit(limit, SECOND), permits=200, latency=dict.fromkeys(range(999), 0.08)
    )
    await bench.run(rows)
    between, in_50_ms, flush = BETWEEN[limit], limit / 20, database_seconds / FLUSH_EVERY.total_seconds()
    assert rows.most_opened <= between + 1
    assert rows.most_unwritten <= between + 2 * flush * in_50_ms + 2
    # No slot is lost for it, but where so few rows of so many calls last no longer than a transaction.
    pace = limit if in_50_ms <= MANY or database_seconds < FLUSH_EVERY.total_seconds() / 2 else 1000
    assert bench.clock.elapsed < len(rows.begun) / pace * 1.05 + 0.3


@pytest.mark.parametrize("limit", [20, 50, 100, 200, 400])
@pytest.mark.parametrize("database_seconds", [0.1, 0.2])
async def test_a_limit_is_used_where_flushes_take_long_by_the_rows_of_one_flush(bench, limit, database_seconds):
    bench.database_seconds = database_seconds
    rows = bench.rows(
        min(limit * 10, 999), limit=Limit(limit, SECOND), permits=200, latency=dict.fromkeys(range(999), 0.08)
    )
    await bench.run(rows)
    settled = rows.begun[len(rows.begun) // 3 :]
    assert (settled[-1] - settled[0]) / SECOND <= (len(settled) - 1) / limit / 0.98
    assert rows.most_opened <= 2 * max(limit * database_seconds, 3)


async def test_with_a_slow_provider_hardly_more_rows_are_opened_than_there_are_calls_in_flight(bench):
    rows = bench.rows(400, permits=40, latency={number: 1 + number % 40 / 40 for number in range(400)})
    await bench.run(rows)
    assert rows.most_unknown <= 50


# Slots.


def keeps(limit, begun):
    """Whether in no span of time more calls began than the limit allows, but for `CATCH_UP`."""
    due = [at - limit.interval * number for number, at in enumerate(begun)]
    return all(
        at >= latest - CATCH_UP - timedelta(milliseconds=0.1)
        for at, latest in zip(due, accumulate(due, max), strict=True)
    )


async def test_no_call_begins_before_its_slot_nor_long_after_it(bench):
    rows = bench.rows(60, limit=Limit.parse("20/second"))
    await bench.run(rows)
    assert len(rows.delays) == 60
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert keeps(rows.limit, rows.begun)
    assert bench.clock.elapsed < 3.3  # and no slot of the account was left unused


async def test_late_calls_are_as_far_apart_as_the_last_claim_says(bench):
    """Their slots may have been closer: the provider has refused calls since, and the rate that was found is lower."""
    rows = bench.rows(12, permits=1, limit=Limit.parse("50/second"), latency=dict.fromkeys(range(12), 0.001) | {0: 0.3})
    claim = rows.claim
    rows.claim = lambda room, now: replace(claim(room, now), spacing=timedelta(seconds=0.1))
    await bench.run(rows)
    first, *late = rows.begun
    assert late[0] - first >= timedelta(seconds=0.3)
    assert keeps(Limit.parse("10/second"), late)


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("seconds", [0.2, 0.45, 0.95, 3.0])
async def test_calls_whose_connections_are_there_at_the_same_moment_do_not_leave_together(bench, seconds, count):
    """The provider accepts connections, and answers no TLS handshake until a time."""
    limit = Limit.parse(f"{count}/second")
    rows = bench.rows(5 * count, permits=10, limit=limit, latency=dict.fromkeys(range(5 * count), 5 / count))
    rows.connecting = lambda: max(seconds - bench.clock.elapsed, 0.001)
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(5 * count))
    assert keeps(limit, rows.begun)
    assert len(rows.numbers("connect")) <= 10
    assert bench.clock.elapsed < seconds + 5 + 0.6  # each connection was kept: after that moment no slot was lost


async def test_calls_over_new_connections_keep_the_limit_together_with_those_over_kept_ones(bench):
    """The provider is far away: when the first connections are there, their calls are late, and later ones are not."""
    rows = bench.rows(100, permits=30, limit=Limit.parse("20/second"), connecting=lambda: 0.3)
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(100))
    assert keeps(rows.limit, rows.begun)
    assert len(rows.numbers("not made")) < 20
    assert bench.clock.elapsed < 0.3 + 100 / 20 + 0.5


async def test_where_a_connection_takes_longer_than_a_slot_lasts_the_next_call_uses_it(bench):
    seconds = LAPSE.total_seconds() + 0.3
    rows = bench.rows(20, permits=30, limit=Limit.parse("5/second"), connecting=lambda: seconds)
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(20))
    assert len(rows.numbers("connect")) <= 5
    assert bench.clock.elapsed < seconds + 20 / 5 + 0.5
    rows = bench.rows(20, permits=30, limit=Limit.parse("5/second"), connecting=lambda: seconds, closes=True)
    began = bench.clock.elapsed
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(20))  # at half of the pace, and not never
    assert bench.clock.elapsed - began < seconds + 2 * 20 / 5 + 1


async def test_where_each_call_needs_a_new_connection_no_slot_is_lost(bench):
    rows = bench.rows(60, permits=20, limit=Limit.parse("20/second"), connecting=lambda: 0.3, closes=True)
    await bench.run(rows)
    assert rows.numbers("not made") == []
    assert keeps(rows.limit, rows.begun)
    assert bench.clock.elapsed < 0.3 + 60 / 20 + 0.3


@pytest.mark.parametrize(("seconds", "most"), [(0.01, 80), (0.07, 80)])
async def test_under_a_limit_the_rows_of_a_batch_cost_a_transaction_for_each_flush_and_no_more(bench, seconds, most):
    """Each transaction writes the results of 50 ms, and opens rows for as long. Where it is slow, two overlap."""
    bench.database_seconds = seconds
    limit, latency = Limit.parse("200/second"), dict.fromkeys(range(600), 0.01)
    rows = bench.rows(600, limit=limit, permits=50, latency=latency)
    await bench.run(rows)
    assert bench.clock.elapsed < 3.2 + 10 * seconds  # hardly a slot was lost
    assert max(rows.delays[50:]) < 3 * timedelta(seconds=seconds)  # and no call was late for more than its flush
    assert len(rows.flushes) <= most


async def test_rows_that_wait_for_permits_are_followed_by_no_claim_of_a_few_more(bench):
    """Messages that become due in chunks, as sessions are written, and whose calls are quick."""
    rows = bench.rows(0, permits=8, latency=dict.fromkeys(range(500), 0.005))
    dispatcher = bench.dispatcher(rows, stay=timedelta(seconds=9))
    rows.waiting.append(EVENTS)  # the dispatcher stays after it
    going = asyncio.create_task(dispatcher.run())
    for chunk in range(5):
        await asyncio.sleep(0.4)
        rows.waiting += range(100 * chunk, 100 * (chunk + 1))
        dispatcher.wake(for_events=False)
    await asyncio.sleep(1)
    bench.stopping.set()
    await going
    assert sorted(rows.numbers("done")) == [*range(500), EVENTS]
    assert len(rows.chunks) <= 1 + 5 * 6


async def test_a_process_that_is_slower_than_the_limit_still_calls_as_often_as_it_can(bench):
    """Its slots pass while it is busy with other calls. Each slot that has passed must not delay the next one."""
    rows = bench.rows(600, limit=Limit.parse("200/second"), permits=50, latency=dict.fromkeys(range(600), 0.01))
    call, seconds = rows.call, 0.02

    async def busy(*arguments):
        bench.clock.elapsed += seconds  # the whole process
        return await call(*arguments)

    rows.call = busy
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(600))
    assert bench.clock.elapsed < 1.1 * 600 * seconds
    assert len(rows.numbers("not made")) < 600 / 2


@pytest.mark.parametrize(
    ("turn", "limit", "database_seconds"), [(0.02, "200/second", 0.01), (0.005, "2000/second", 0.1)]
)
async def test_on_a_loop_with_much_other_work_the_calls_keep_up_with_their_slots(bench, turn, limit, database_seconds):
    """Each turn of the loop takes long. Where one waiting call went on in each, nearly all slots passed, for ever."""
    bench.database_seconds = database_seconds
    rows = bench.rows(900, limit=Limit.parse(limit), permits=50, latency=dict.fromkeys(range(900), 0.01))

    async def other_work():
        while True:
            bench.clock.elapsed += turn
            await asyncio.sleep(0)

    other = asyncio.create_task(other_work())
    await bench.run(rows)
    other.cancel()
    assert sorted(rows.numbers("done")) == list(range(900))
    assert keeps(rows.limit, rows.begun)
    assert len(rows.numbers("not made")) < 900 / 5
    assert bench.clock.elapsed < 1.5 * 900 / rows.limit.count + 2


async def test_a_slot_that_has_passed_takes_no_event_and_no_row_that_waits_longer_than_others(bench):
    rows = bench.rows(20, limit=Limit.parse("50/second"), latency={0: 0.01})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.17)
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await asyncio.sleep(0.015)
    opened, before = rows.numbers("open"), set(rows.numbers("call"))
    assert EVENTS in set(opened) - before
    # The machine stood still; the last slots have not passed.
    bench.clock.advance(seconds=(LAPSE - CATCH_UP).total_seconds() + 0.07)
    await going
    skipped = set(rows.numbers("not made"))
    batch_rows = [number for number in opened if number != EVENTS and number not in before]
    assert 0 < len(skipped) < len(batch_rows)
    assert sorted(skipped) == batch_rows[-len(skipped) :]


async def test_waiting_for_permits_uses_no_processor_time(bench):
    """Rows with slots are claimed and a permit or two is free: the dispatcher sleeps until more are free."""
    rows = bench.rows(200, permits=8, limit=Limit.parse("1000/second"), latency=dict.fromkeys(range(200), 1.0))
    rows.latency |= {number: 0.9 + number % 8 / 50 for number in range(200)}
    await bench.run(rows, longest=timedelta(seconds=10))
    assert rows.most_calls == 8


@pytest.mark.parametrize("seconds", [0.2, 0.7, 2.5])
async def test_on_a_slow_database_the_slots_begin_as_late_as_its_transactions_need(bench, seconds):
    """Until the dispatcher knows how long a flush takes, slots lapse. A flush opens few rows, so they are called less
    often."""
    bench.database_seconds = seconds
    rows = bench.rows(200, limit=Limit.parse("20/second"))
    await bench.run(rows, longest=60 * MINUTE)
    assert sorted(rows.numbers("done")) == list(range(200))
    assert max(rows.numbers("not made"), default=0) < 40
    assert keeps(rows.limit, rows.begun)
    assert bench.clock.elapsed < 10 + 200 / OPEN_LEAST * 2 * seconds
