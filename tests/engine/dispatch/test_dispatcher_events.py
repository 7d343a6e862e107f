"""In a dispatcher, events go before the rows of batches."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from tests.simulated.bench import EVENTS
from tests.simulated.virtual_time import START
from worker.domain.limits.rate_limits import LAPSE, Limit
from worker.engine.dispatch.contract import Unsure
from worker.engine.dispatch.dispatcher import ALONE, CLAIM_EVERY, FLUSH_EVERY, FLUSH_LEAST, HORIZON, OPEN_AT_ONCE


@pytest.mark.parametrize("horizon", [HORIZON, ALONE])
async def test_an_event_has_the_next_slot_though_rows_of_a_batch_had_reserved_all_of_them(bench, horizon):
    limit, latency = Limit.parse("100/second"), dict.fromkeys(range(500), 0.01)
    rows = bench.rows(500, limit=limit, horizon=horizon, permits=30, latency=latency)
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.137)
        rang_at = bench.clock()
        rows.waiting.append(number)
        dispatcher.wake()
        await asyncio.sleep(0.137)
        # One transaction, which may wait for another, then at most the time between two slots.
        assert rows.begun[rows.numbers("call").index(number)] - rang_at < timedelta(milliseconds=35)
    bench.stopping.set()
    await going


@pytest.mark.parametrize("seed", range(8))
async def test_slots_that_change_hands_are_used_once_and_neither_before_their_time_nor_long_after_it(bench, seed):
    draw = random.Random(seed)  # noqa: S311 -- no secret
    rows = bench.rows(400, limit=Limit.parse("100/second"))
    rows.latency = {number: draw.uniform(0.001, 0.2) for number in [*range(400), *range(EVENTS, EVENTS + 100)]}
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 100):
        await asyncio.sleep(draw.expovariate(60))
        rows.waiting.append(number)
        dispatcher.wake()
    await going
    assert sorted(rows.numbers("done")) == [*range(400), *range(EVENTS, EVENTS + 100)]
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert len(set(rows.slots)) == len(rows.slots)
    assert rows.most_unknown <= rows.permits + FLUSH_LEAST


async def test_while_events_keep_coming_the_batch_keeps_its_share_of_the_calls(bench):
    rows = bench.rows(200, limit=Limit.parse("100/second"))
    rows.waiting += range(EVENTS, EVENTS + 600)
    await bench.run(rows, longest=timedelta(seconds=5))
    called = rows.numbers("call")[:400]
    assert 320 <= sum(number >= EVENTS for number in called) <= 330
    of_batch = [number for number in called if number < EVENTS]
    assert of_batch == sorted(of_batch)


async def test_where_places_are_short_an_event_has_the_next_one_that_is_free(bench):
    rows = bench.rows(400, permits=4, latency=dict.fromkeys(range(400), 0.02))
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(0.5)
    rang_at = bench.clock()
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await going
    called_at = rows.begun[rows.numbers("call").index(EVENTS)]
    assert called_at - rang_at <= timedelta(milliseconds=60)  # of 400 ms that the rows ahead of it take


async def test_what_came_of_an_event_is_written_alone_and_the_batchs_with_their_flush(bench):
    limit, latency = Limit.parse("200/second"), dict.fromkeys(range(400), 0.01)
    rows = bench.rows(400, limit=limit, horizon=ALONE, permits=50, latency=latency)
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.11)
        rows.waiting.append(number)
        dispatcher.wake()
    await going
    chunks = Counter(rows.written.values())
    with_events = [chunks[rows.written[number]] for number in range(EVENTS, EVENTS + 10)]
    assert sorted(with_events)[:7] == [1] * 7  # else it came while the others' were due
    assert len(chunks) <= 22 + 10  # a flush each 100 ms, and one for each event


async def test_a_few_events_are_written_down_as_they_are_taken_and_more_of_them_wait_for_a_turn(bench):
    rows = bench.rows(0, permits=40)
    rows.waiting += range(EVENTS, EVENTS + 30)
    await bench.run(rows)
    first, *more = rows.chunks
    assert first == OPEN_AT_ONCE
    assert sum(more) == 30 - OPEN_AT_ONCE
    assert sorted(rows.numbers("done")) == list(range(EVENTS, EVENTS + 30))


async def test_events_whose_taking_was_not_answered_are_given_back_and_not_called_for(bench):
    rows = bench.rows(0, lost_answers=[Unsure])
    rows.waiting.append(EVENTS)
    await bench.run(rows)
    of_it = [what for what, _ in rows.log]
    assert of_it == ["claim", "open", "lost", "release", "claim", "open", "call", "answer", "done"]


async def test_an_event_whose_attempt_was_being_written_when_the_account_had_to_wait_is_not_called_for(bench):
    bench.database_seconds = 0.03
    rows = bench.rows(1, answers={0: "halt"}, latency={0: 0.02})
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(0.07)  # the call is out, and comes to nothing while the event is being taken
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await going
    assert rows.numbers("open") == [0, EVENTS]
    assert set(rows.numbers("not made")) == {EVENTS}
    assert rows.numbers("call") == [0]


async def test_what_came_of_an_event_is_written_at_once(bench):
    rows = bench.rows(50, limit=Limit.parse("100/second"))
    rows.waiting.append(EVENTS)
    rows.latency = {EVENTS: 0.045}
    await bench.run(rows)
    answered = rows.begun[rows.numbers("call").index(EVENTS)] + timedelta(milliseconds=45)
    assert rows.written[EVENTS] - answered < FLUSH_EVERY / 4


async def test_bells_for_more_events_than_there_is_room_for_take_no_time_of_the_processor(bench):
    rows = bench.rows(0, permits=2, limit=Limit.parse("1/second"))
    rows.waiting += range(EVENTS, EVENTS + 50)
    going, dispatcher = begun(bench, rows)
    for _ in range(50):
        await asyncio.sleep(0.1)
        dispatcher.wake()
    bench.stopping.set()
    await going
    assert len(rows.takes) < 120


async def test_a_bell_for_each_flush_has_rows_of_batches_taken_in_lots(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, dispatcher = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        dispatcher.wake()
        await asyncio.sleep(0.01)
    await going
    assert len([took for took in rows.takes if took]) < 80  # each 50 ms in 3 s
    assert len(rows.numbers("done")) == 300


async def test_a_bell_that_is_for_no_event_takes_rows_in_lots_and_looks_for_events_in_none(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, dispatcher = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        dispatcher.wake(for_events=False)
        await asyncio.sleep(0.01)
    await going
    assert len(rows.numbers("done")) == 300
    assert len(rows.takes) < 30  # each 200 ms in 3 s, and where there were more than one taking holds


@pytest.mark.parametrize("milliseconds", range(0, 60, 7))
async def test_a_bell_for_a_row_that_rings_while_rows_are_taken_is_answered_soon(bench, milliseconds):
    bench.database_seconds = 0.05
    rows = bench.rows(1, latency={0: 0.01, 1: 0.01})
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(milliseconds / 1000)
    rows.waiting.append(1)
    dispatcher.wake(for_events=False)
    await going
    assert rows.numbers("done") == [0, 1]
    assert rows.begun[1] - START < CLAIM_EVERY + timedelta(milliseconds=200)


def begun(bench, rows):
    dispatcher = bench.dispatcher(rows)
    return asyncio.create_task(dispatcher.run()), dispatcher
