"""Which rows a dispatcher does not call: after their slot, after a halt, at its end, during failures."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.dispatch.dispatcher import LINGER
from onboarding_worker.core.model.metrics import WorkMeter
from onboarding_worker.core.rules.limits import LAPSE, Limit
from tests.simulated.bench import BAD_ROW, EVENTS, MINUTE, UNREACHABLE

# Connections: a call may wait long for one, and its checks were made before.


@pytest.mark.parametrize("limit", [None, Limit.parse("20/second")], ids=["no limit", "limited"])
@pytest.mark.parametrize("what", ["halted", "stopping", "lease"])
async def test_what_has_come_while_a_call_waited_for_its_connection_keeps_it_from_being_written(bench, what, limit):
    rows = bench.rows(1, limit=limit, connecting=lambda: 0.4)
    dispatcher = bench.dispatcher(rows, longest=timedelta(seconds=0.3))
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.2)
    assert rows.numbers("connect") == [0]
    if what == "halted":
        dispatcher.stop_everything()
    elif what == "stopping":
        bench.stopping.set()
    else:
        rows.longest_call = MINUTE
        dispatcher._calls._longest_call = MINUTE  # as if the clock had been set meanwhile
    await going
    assert (rows.numbers("call"), set(rows.numbers("not made")), rows.waiting) == ([], {0}, [0])
    assert rows.connections == 1


async def test_a_call_is_not_written_after_the_day_of_its_credit(bench):
    rows = bench.rows(1, connecting=lambda: 0.4)
    rows.day_ends = bench.clock() + timedelta(seconds=0.2)
    await bench.run(rows)
    assert set(rows.numbers("not made")) == {0}
    assert rows.numbers("call") == [0]  # with a credit of the next day


async def test_a_call_that_was_not_written_counts_neither_for_the_pace_nor_as_a_call_of_some_seconds(bench):
    rows = bench.rows(2, permits=1, limit=Limit.parse("20/second"))
    rows.connecting = lambda: LAPSE.total_seconds() + 0.1
    called = []
    meter = WorkMeter(called=called.append, claimed=lambda _: None, wrote=lambda _: None)
    dispatcher = bench.dispatcher(rows, meter=meter)
    dispatcher._state.busy_stretch.at_flush = lambda *_, **__: None  # all calls are of one stretch
    await dispatcher.run()
    assert "not made" in [what for what, _ in rows.log]
    assert (len(called), dispatcher._state.busy_stretch.calls) == (2, 2)


async def test_a_call_that_finds_that_it_may_not_be_made_counts_as_none_and_gives_its_slot_back(bench):
    rows = bench.rows(3, permits=1, limit=Limit.parse("20/second"), may_not={0})
    called = []
    meter = WorkMeter(called=called.append, claimed=lambda _: None, wrote=lambda _: None)
    dispatcher = bench.dispatcher(rows, meter=meter)
    dispatcher._state.busy_stretch.at_flush = lambda *_, **__: None  # all calls are of one stretch
    await dispatcher.run()
    assert sorted(rows.numbers("call")) == [0, 1, 2]
    assert set(rows.numbers("not made")) == {0}
    assert (len(called), dispatcher._state.busy_stretch.calls, len(rows.unused)) == (3, 3, 1)


async def test_a_call_that_fails_after_it_was_not_to_be_written_was_not_made(bench):
    rows = bench.rows(1, connecting=lambda: 0.4)
    call = rows.call

    async def fails(*arguments):
        await call(*arguments)
        raise ZeroDivisionError

    rows.call = fails
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.2)
    bench.stopping.set()
    await going
    assert (set(rows.numbers("not made")), rows.waiting) == ({0}, [0])


# Halts: the account is rate-limited or refused.


async def test_no_call_begins_once_a_result_has_halted_the_account(bench):
    rows = bench.rows(100, permits=10, answers={14: "halt"}, latency={14: 0.04})
    await bench.run(rows)
    known = rows.log.index(("answer", 14))
    assert "call" not in [what for what, _ in rows.log[known:]]
    assert sorted(rows.numbers("done") + rows.waiting + [14]) == list(range(100))


@pytest.mark.parametrize("milliseconds", range(0, 60, 3))
async def test_not_even_a_call_whose_attempt_was_being_written_when_the_account_was_halted(bench, milliseconds):
    bench.database_seconds = 0.02
    rows = bench.rows(40, permits=4, latency={number: 0.03 for number in range(40)}, answers={1: "halt"})
    rows.latency[1] = 0.02 + milliseconds / 1000
    await bench.run(rows)
    known = rows.log.index(("answer", 1))
    assert "call" not in [what for what, _ in rows.log[known:]]
    assert sorted(rows.numbers("done") + rows.waiting + [1]) == list(range(40))


async def test_no_event_is_called_that_comes_while_the_result_that_halts_the_account_is_being_written(bench):
    rows = bench.rows(1, answers={0: "halt"})
    writing = asyncio.Event()

    async def in_turn(function, *arguments):
        """The flush that writes it waits: for a connection, or for the lock of a row."""
        results = arguments[0] if arguments else ()
        if any(getattr(result, "what", "") == "halt" for result in results):
            writing.set()
            await asyncio.sleep(0.3)
        return await bench.in_thread(function, *arguments)

    dispatcher = bench.dispatcher(rows, in_turn=in_turn)
    going = asyncio.create_task(dispatcher.run())
    await writing.wait()
    rows.waiting += range(EVENTS, EVENTS + 40)
    dispatcher.wake(for_events=True)
    await going
    assert rows.numbers("call") == [0]
    assert len(rows.waiting) == 40


async def test_a_call_that_waits_for_its_slot_is_not_made_once_the_account_is_halted(bench):
    rows = bench.rows(10, limit=Limit.parse("20/second"), answers={0: "halt"}, latency={0: 0.01})
    await bench.run(rows)
    assert rows.numbers("call") == [0]
    assert sorted(rows.waiting) == list(range(1, 10))


@pytest.mark.parametrize("gap", [4, 8, 12, 16])
@pytest.mark.parametrize("first", range(10, 110, 10))
async def test_after_two_halts_calls_keep_to_their_slots_as_before(bench, first, gap):
    """The second halt comes while the result of the first is being written: calls must not go without slots then."""
    rows = bench.rows(60, limit=Limit.parse("20/second"), answers={1: "halt", 2: "halt"})
    rows.latency = {0: 3, 1: 0.05 + first / 1000, 2: (first + gap) / 1000}
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.5)
    rows.halted = False  # the pause was short
    dispatcher.wake()
    await going
    assert sorted(rows.numbers("done") + rows.waiting + rows.numbers("halt")) == list(range(60))
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert len(rows.delays) > 30


# The end of a dispatcher.


async def test_after_its_longest_time_a_dispatcher_claims_no_more_and_returns_that_more_is_due(bench):
    rows = bench.rows(1000, permits=2)
    assert await bench.run(rows, longest=timedelta(seconds=2)) is True
    assert 2 <= bench.clock.elapsed < 2.5
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(1000))


async def test_stopping_releases_rows_that_were_not_called_and_waits_for_calls_in_flight(bench):
    rows = bench.rows(300, permits=5, latency={2: 4})
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.2)
    bench.stopping.set()
    began = bench.clock.elapsed
    assert await going is False
    assert bench.clock.elapsed - began < 4.5
    assert rows.calls == 0
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(300))
    assert 2 in rows.numbers("done")


async def test_stopping_with_no_call_in_flight_ends_within_a_second(bench):
    rows = bench.rows(300, permits=5, limit=Limit.parse("1/second"))
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(1.5)
    bench.stopping.set()
    began = bench.clock.elapsed
    await going
    assert bench.clock.elapsed - began <= LINGER.total_seconds() + 0.2


async def test_a_dispatcher_that_was_stopped_before_it_began_claims_nothing(bench):
    bench.stopping.set()
    rows = bench.rows(3)
    await bench.run(rows)
    assert rows.log == []


async def test_a_wake_up_makes_a_dispatcher_look_again_before_it_ends(bench):
    rows = bench.rows(1, latency={0: 0.5})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.2)
    rows.waiting.append(7)
    dispatcher.wake()
    await going
    assert rows.numbers("done") == [7, 0]


async def test_a_dispatcher_waits_for_rows_that_come_due_within_the_linger(bench):
    rows = bench.rows(3, limit=Limit.parse("2/second"))
    await bench.run(rows)
    assert len(rows.numbers("done")) == 3


@pytest.mark.parametrize("limit", ["1/minute", "40/minute"])
async def test_rows_that_come_due_later_are_left_to_the_sweep(bench, limit):
    rows = bench.rows(2, limit=Limit.parse(limit))
    await bench.run(rows)
    assert rows.numbers("done") == [0]
    assert bench.clock.elapsed < 2


# Failures.


async def test_a_bug_in_a_call_keeps_the_row_and_logs_no_value_of_it(bench, caplog):
    rows = bench.rows(20, answers={3: "break"})
    await bench.run(rows)
    assert rows.numbers("ZeroDivisionError") == [3]
    assert len(rows.numbers("done")) == 19
    assert "maria" not in caplog.text


async def test_results_wait_for_a_database_that_cannot_be_reached(bench):
    rows = bench.rows(30, finish_errors=[UNREACHABLE, UNREACHABLE])
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(30))
    assert len(rows.numbers("call")) == 30
    assert 2 < bench.clock.elapsed < 3


async def test_a_stopping_worker_waits_half_a_minute_for_a_lost_database_and_not_for_ever(bench):
    rows = bench.rows(2, finish_errors=[UNREACHABLE] * 1000)
    running = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(5)
    bench.stopping.set()
    await running
    assert 35 <= bench.clock.elapsed < 36
    assert rows.written == {}


async def test_a_stopping_worker_tries_to_write_the_result_of_a_call_that_ended_later_than_that(bench):
    rows = bench.rows(1, latency={0: 40})
    running = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(1)
    bench.stopping.set()
    await asyncio.sleep(35)
    rows.finish_errors = [UNREACHABLE]
    await running
    assert rows.numbers("done") == [0]


async def test_an_outage_is_over_when_a_write_succeeds_again(bench):
    """`run` asks how long it has lasted."""
    rows = bench.rows(30, finish_errors=[UNREACHABLE] * 5)
    dispatcher = bench.dispatcher(rows)
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(2.5)
    assert dispatcher.outage.lasted > 0
    await running
    assert dispatcher.outage.lasted == 0


async def test_no_call_begins_while_results_cannot_be_written(bench):
    """Nor are rows claimed meanwhile."""
    rows = bench.rows(300, permits=10, latency={number: 0.02 + number % 5 / 100 for number in range(300)})
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.3)
    rows.finish_errors += [UNREACHABLE, UNREACHABLE, UNREACHABLE]
    await going
    failed, *_, back = (index for index, (what, _) in enumerate(rows.log) if what == "unreachable")
    assert {what for what, _ in rows.log[failed:back]} <= {"unreachable", "answer", "not made"}
    assert sorted(rows.numbers("done")) == list(range(300))
    assert sorted(rows.numbers("call")) == list(range(300))


async def test_no_processor_time_is_used_while_an_events_result_cannot_be_written(bench):
    """Its permit is the only one, and the call of another event has it meanwhile."""
    rows = bench.rows(0, permits=1, latency={EVENTS: 1, EVENTS + 1: 20})
    rows.waiting = [EVENTS, EVENTS + 1]
    running = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.5)
    rows.finish_errors = [UNREACHABLE] * 5
    await running
    assert sorted(rows.numbers("done")) == [EVENTS, EVENTS + 1]


async def test_slots_whose_release_was_not_acknowledged_are_not_released_again(bench):
    """They may be another worker's by now."""
    rows = bench.rows(20, limit=Limit.parse("50/second"), latency={0: 0.05}, answers={0: "halt"})
    rows.lost_releases = 1
    await bench.run(rows)
    assert not rows.lost_releases
    assert rows.unused
    assert len(set(rows.unused)) == len(rows.unused)


async def test_slots_whose_release_was_rolled_back_with_a_bad_result_are_released_by_the_next_flush(bench):
    rows = bench.rows(20, limit=Limit.parse("50/second"), latency={0: 0.05}, answers={0: "halt"})
    flush, failed = rows.flush, []

    def fails_once(results, room, stretch=None, slots=()):
        if slots and not failed:
            failed.extend(slots)
            raise BAD_ROW
        return flush(results, room, stretch, slots)

    rows.flush = fails_once
    await bench.run(rows)
    assert failed
    assert set(failed) <= set(rows.unused)


async def test_a_dispatcher_whose_slots_cannot_be_released_at_its_end_has_done_its_work_all_the_same(bench):
    rows = bench.rows(5, limit=Limit.parse("10/second"), lost_releases=1)
    running = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.15)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not rows.lost_releases


async def test_an_outage_is_not_logged_anew_by_each_dispatcher_that_meets_it(bench, caplog):
    """While it lasts, a dispatcher begins with each tick and ends at its first claim."""
    rows = bench.rows(5, limit=Limit.parse("10/second"))

    def away(*_arguments):
        raise UNREACHABLE

    rows.flush = rows.release_permits = away
    with pytest.raises(sa.exc.OperationalError):
        await bench.run(rows)
    assert caplog.messages == []


async def test_nothing_is_claimed_while_results_cannot_be_written(bench):
    rows = bench.rows(4, permits=10, finish_errors=[UNREACHABLE] * 5)
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1)
    rows.waiting += [10, 11]
    dispatcher.wake()
    await asyncio.sleep(2)
    assert sorted(rows.numbers("open")) == [0, 1, 2, 3]
    await going
    assert sorted(rows.numbers("done")) == [0, 1, 2, 3, 10, 11]


@pytest.mark.parametrize("error", [BAD_ROW, UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates")])
async def test_a_result_that_cannot_be_written_holds_its_row_and_costs_no_other_result(bench, error):
    rows = bench.rows(30, bad_rows={4, 5}, bad_row=error)
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == sorted(set(range(30)) - {4, 5})
    assert sorted(rows.numbers("kept nothing")) == [4, 5]
    assert sorted(rows.numbers("call")) == list(range(30))


async def test_a_dispatcher_whose_claim_fails_still_writes_the_results_of_its_calls(bench):
    rows = bench.rows(4, permits=2, latency={1: 2})
    claim_rows = rows.claim

    def claim(room, now):
        if rows.log:
            raise ZeroDivisionError
        return claim_rows(room, now)

    rows.claim = claim
    with pytest.raises(ZeroDivisionError):
        await bench.run(rows)
    assert rows.numbers("call") == rows.numbers("done") == [0, 1]  # each once
    assert rows.calls == 0


async def test_a_cancelled_dispatcher_still_writes_the_results_of_its_calls_and_releases_the_rest(bench):
    rows = bench.rows(100, permits=5, latency=dict.fromkeys(range(100), 1.0))
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.5)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert rows.calls == 0
    assert len(rows.numbers("done")) == 5
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(100))


async def test_a_cancelled_dispatcher_without_permits_leaves_no_unknown_outcome(bench):
    """Other workers got its permits after it had opened rows ahead: the results say that those calls were not made."""
    latency = {number: 0.1 + number % 7 / 20 for number in range(300)}
    rows = bench.rows(300, permits=20, latency=latency, shares=[(0, 20), (1, 0)])
    bench.database_seconds = 0.05
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(1.3)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert set(rows.numbers("not made"))
    assert set(rows.numbers("open")) == set(rows.numbers("done") + rows.numbers("not made"))


# Wake-ups at its end.


async def test_a_wake_up_that_comes_while_a_dispatcher_releases_its_permits_is_not_lost(bench):
    rows = bench.rows(1)
    dispatcher = bench.dispatcher(rows)
    rows.release_permits = dispatcher.wake
    assert await dispatcher.run()


async def test_nor_is_a_wake_up_that_comes_while_the_last_calls_of_a_long_dispatcher_end(bench):
    rows = bench.rows(1, latency={0: 5})
    dispatcher = bench.dispatcher(rows, longest=timedelta(seconds=3))
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(4)
    dispatcher.wake(for_events=False)
    assert await going


async def test_a_stopping_process_leaves_a_wake_up_to_other_processes(bench):
    rows = bench.rows(1, latency={0: 5})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1)
    bench.stopping.set()
    dispatcher.wake()
    assert not await going
