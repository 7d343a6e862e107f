"""In a dispatcher, events go before batch rows."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from onboarding_worker.core.dispatch.prefetch import CLAIM_EVERY, EVENTS_AT_ONCE, FLUSH_EVERY
from onboarding_worker.core.rules.limits import LAPSE, Limit
from tests.simulated.bench import EVENTS
from tests.simulated.virtual_time import START
from tests.suite.some import some


async def test_an_event_gets_the_next_slot_though_batch_rows_had_reserved_all_slots(bench):
    limit, latency = Limit.parse("100/second"), dict.fromkeys(range(500), 0.01)
    rows = bench.rows(500, limit=limit, permits=30, latency=latency)
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.137)
        woken_at = bench.clock()
        rows.waiting.append(number)
        dispatcher.wake()
        await asyncio.sleep(0.137)
        # One transaction, which may wait for another, then at most the time between two slots.
        assert rows.begun[rows.numbers("call").index(number)] - woken_at < timedelta(milliseconds=35)
    bench.stopping.set()
    await going


@pytest.mark.parametrize("seed", range(8))
async def test_the_slots_that_events_take_are_used_once_and_neither_before_their_time_nor_long_after_it(bench, seed):
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
    assert all(timedelta(0) <= delay <= LAPSE for delay in some(rows.delays))
    assert len(set(rows.slots)) == len(rows.slots)
    assert rows.most_unknown <= rows.permits + EVENTS_AT_ONCE


async def test_while_events_keep_coming_the_batch_keeps_its_share_of_the_calls(bench):
    rows = bench.rows(200, limit=Limit.parse("100/second"))
    rows.waiting += range(EVENTS, EVENTS + 600)
    await bench.run(rows, longest=timedelta(seconds=5))
    called = rows.numbers("call")[50:450]  # among the rows of the first claim the events go first
    assert 320 <= sum(number >= EVENTS for number in called) <= 330
    of_batch = [number for number in called if number < EVENTS]
    assert of_batch == sorted(of_batch)


async def test_with_few_permits_batch_rows_are_called_while_events_keep_coming(bench):
    bench.database_seconds = 0.03
    rows = bench.rows(900, permits=10, limit=Limit.parse("100/second"))
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 300):
        rows.waiting.append(number)
        dispatcher.wake()
        await asyncio.sleep(0.02)
    called = rows.numbers("call")
    assert sum(number < EVENTS for number in called) > 220  # nearly half of the calls in these six seconds
    assert sum(number >= EVENTS for number in called) > 280
    bench.stopping.set()
    await going


async def test_with_few_permits_an_event_gets_the_next_free_one(bench):
    rows = bench.rows(400, permits=4, latency=dict.fromkeys(range(400), 0.02))
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(0.5)
    woken_at = bench.clock()
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await going
    called_at = rows.begun[rows.numbers("call").index(EVENTS)]
    assert called_at - woken_at <= timedelta(milliseconds=60)  # the rows ahead of it take 400 ms


async def test_the_result_of_an_event_is_written_alone_and_those_of_a_batch_with_their_flush(bench):
    limit, latency = Limit.parse("200/second"), dict.fromkeys(range(400), 0.01)
    rows = bench.rows(400, limit=limit, permits=50, latency=latency)
    going, dispatcher = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.11)
        rows.waiting.append(number)
        dispatcher.wake()
    await going
    chunks = Counter(rows.written.values())
    with_events = [chunks[rows.written[number]] for number in range(EVENTS, EVENTS + 10)]
    assert sorted(with_events)[:7] == [1] * 7  # the rest came when a flush was due
    assert len(chunks) <= 55 + 10  # a flush each 40 ms, and one for each event


async def test_many_events_that_come_among_batch_rows_are_opened_a_few_at_a_time_and_at_once(bench):
    rows = bench.rows(400, permits=40, latency=dict.fromkeys(range(400), 0.3))
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(0.03)
    rows.waiting += range(EVENTS, EVENTS + 30)
    dispatcher.wake()
    await asyncio.sleep(0.03)
    assert rows.chunks[1] == EVENTS_AT_ONCE
    assert len([number for number in rows.numbers("open") if number >= EVENTS]) <= EVENTS_AT_ONCE
    await going
    assert len(rows.numbers("done")) == 430
    asked = [room.events for _, room in rows.flushes if room is not None and room.for_event]
    assert all(some(asked))  # no transaction for none


@pytest.mark.parametrize("gap", [0.53, 0.61])  # seconds between two events: longer than the way of one
async def test_an_event_is_opened_at_once_though_many_results_wait_to_be_written(bench, gap):
    """On a slow database flushes of batches begin twice a second."""
    bench.database_seconds = 0.3
    rows = bench.rows(800, permits=50, limit=Limit.parse("200/second"), latency=dict.fromkeys(range(800), 0.01))
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(1.5)
    waits, claim = {}, rows.claim

    def claim_and_note(room, now):
        flushed = claim(room, now)
        waits.update({opened.number: now - woken for opened in flushed.opened if opened.number >= EVENTS})
        return flushed

    rows.claim = claim_and_note
    for number in range(EVENTS, EVENTS + 6):
        rows.waiting.append(number)
        woken = bench.clock()
        dispatcher.wake()
        await asyncio.sleep(gap)
    await going
    assert len(waits) == 6
    assert max(waits.values()) < 1.2 * timedelta(seconds=0.3)  # its own transaction, and it waits for no other one


async def test_events_of_a_claim_with_an_unknown_outcome_are_released_and_not_called(bench):
    rows = bench.rows(0, lost_answers=1)
    rows.waiting.append(EVENTS)
    await bench.run(rows)
    happened = [what for what, _ in rows.log]
    assert happened == ["open", "lost", "release", "open", "call", "answer", "done"]


async def test_an_event_whose_attempt_was_being_written_when_the_account_was_halted_is_not_called(bench):
    bench.database_seconds = 0.03
    rows = bench.rows(1, answers={0: "halt"}, latency={0: 0.02})
    going, dispatcher = begun(bench, rows)
    await asyncio.sleep(0.045)  # the call is in flight, and halts the account while the event is being claimed
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await going
    assert rows.numbers("open") == [0, EVENTS]
    assert set(rows.numbers("not made")) == {EVENTS}
    assert rows.numbers("call") == [0]


async def test_the_result_of_an_event_is_written_at_once(bench):
    rows = bench.rows(50, limit=Limit.parse("100/second"))
    rows.waiting.append(EVENTS)
    rows.latency = {EVENTS: 0.045}
    await bench.run(rows)
    answered = rows.begun[rows.numbers("call").index(EVENTS)] + timedelta(milliseconds=45)
    assert rows.written[EVENTS] - answered < FLUSH_EVERY / 4


@pytest.mark.parametrize("limit", ["10000/hour", "20/second"])
async def test_an_event_whose_connection_took_too_long_is_called_over_it_at_once(bench, limit):
    """After an idle time no connection is there."""
    rows = bench.rows(0, limit=Limit.parse(limit), connecting=lambda: LAPSE.total_seconds() + 0.1)
    rows.waiting.append(EVENTS)
    await bench.run(rows)
    assert rows.numbers("not made")[0] == EVENTS
    connected_at = START + LAPSE + timedelta(seconds=0.1)
    assert rows.begun[0] - connected_at < timedelta(milliseconds=100)


async def test_wake_ups_for_more_events_than_there_is_room_for_use_no_processor_time(bench):
    rows = bench.rows(0, permits=2, limit=Limit.parse("1/second"))
    rows.waiting += range(EVENTS, EVENTS + 50)
    going, dispatcher = begun(bench, rows)
    for _ in range(50):
        await asyncio.sleep(0.1)
        dispatcher.wake()
    bench.stopping.set()
    await going
    assert len(rows.claims) < 120


async def test_with_a_wake_up_for_each_flush_batch_rows_are_claimed_in_chunks(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, dispatcher = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        dispatcher.wake()
        await asyncio.sleep(0.01)
    await going
    assert len([count for count in rows.claims if count]) < 80  # each 50 ms in 3 s
    assert len(rows.numbers("done")) == 300


async def test_a_wake_up_that_is_for_no_event_claims_rows_in_chunks_and_makes_no_claim_for_events_alone(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, dispatcher = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        dispatcher.wake(for_events=False)
        await asyncio.sleep(0.01)
    await going
    assert len(rows.numbers("done")) == 300
    assert len(rows.claims) < 40  # each 200 ms in 3 s, and some more where one claim could not hold all


@pytest.mark.parametrize("milliseconds", range(0, 60, 7))
async def test_a_wake_up_for_a_batch_row_during_a_claim_is_served_soon(bench, milliseconds):
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
