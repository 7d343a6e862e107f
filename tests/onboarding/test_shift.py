"""A shift's order of things, over rows in memory and a database whose calls take time."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from worker.pacing import LAPSE, Limit, ask_at, offer, spacing
from worker.places import ASK_AGAIN
from worker.shares import share_out
from worker.shift import ALONE, EVENTS_AHEAD, FLUSH_EVERY, FLUSH_LEAST, HORIZON, LINGER, OPEN_AT_ONCE, TAKE_EVERY, Shift
from worker.work import TakenRows, Unsure

from .virtual_time import START, VirtualClock

MINUTE = timedelta(minutes=1)
EVENTS = 1000  # rows with this number and above are events
AWAY = sa.exc.OperationalError("UPDATE", None, Exception("connection refused"))
BAD_ROW = sa.exc.IntegrityError("INSERT", None, Exception("unique"))


@dataclass(frozen=True)
class Row:
    number: int
    lease_until: datetime
    slot: datetime | None = None
    is_event: bool = False


@dataclass(frozen=True)
class Opened:
    row: Row


@dataclass(frozen=True)
class Result:
    number: int
    what: str


@dataclass
class Rows:
    """Work whose rows are numbers. `log` is all that happened, in order, as (what, number)."""

    clock: VirtualClock
    waiting: list[int]
    places: int = 10
    name: str = "rows"
    longest_call: timedelta = timedelta(seconds=10)
    lease: timedelta = MINUTE
    leads_on: bool = True
    limit: Limit | None = None
    horizon: timedelta = HORIZON
    latency: dict[int, float] = field(default_factory=dict)  # seconds; of the others 0.05
    answers: dict[int, str] = field(default_factory=dict)  # "halt", "break"; of the others "done"
    finish_errors: list[Exception] = field(default_factory=list)
    lost_answers: list[type[Unsure]] = field(default_factory=list)  # of takings that wrote attempts down
    bad_rows: set[int] = field(default_factory=set)  # whose results the database refuses
    log: list[tuple[str, int]] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)
    delays: list[timedelta] = field(default_factory=list)  # of calls after their slots
    slots: list[datetime] = field(default_factory=list)  # of the calls, in their order
    written: dict[int, datetime] = field(default_factory=dict)
    halted: bool = False  # as the other workers know it
    next_at: datetime | None = None
    calls: int = 0
    most_calls: int = 0
    in_doubt: int = 0  # attempts that are written down, and what came of them is not
    most_in_doubt: int = 0
    lots: list[int] = field(default_factory=list)
    takes: list[int] = field(default_factory=list)
    left: int = 0
    shares: list[tuple[float, int]] = field(default_factory=list)  # places from so many seconds on

    @property
    def spacing(self):
        return spacing([self.limit] if self.limit else [])

    def take(self, room, now):
        busy = room.busy
        if self.halted:
            return TakenRows([], now + MINUTE)
        places = next((share for since, share in reversed(self.shares) if since <= self.clock.elapsed), None)
        if places is not None and places < max(busy, 1):
            return TakenRows([], now + ASK_AGAIN, places)
        limits = [self.limit] if self.limit else []
        most = max(room.rows, room.events)
        slots = offer(limits, next_at=self.next_at, most=most, now=now, horizon=self.horizon + EVENTS_AHEAD)
        soon = min(slots.until(now + self.horizon), room.rows)
        numbers = share_out(slots.count, 0.5, soon=soon, events=self.pick(True), batches=self.pick(False)).rows
        slots = replace(slots, count=len(numbers))
        if self.limit:
            self.next_at = slots.end
        self.log += [("take", number) for number in numbers]
        self.takes.append(len(numbers))
        rows = [
            Row(number, now + self.lease, slots.at(index) if self.limit else None, number >= EVENTS)
            for index, number in enumerate(numbers)
        ]
        again_at = ask_at(slots.end, horizon=self.horizon, now=now) if self.waiting else None
        first = [row for row in rows if row.is_event][: room.attempts]
        opened = self.open(first, now) if first else []
        if self.lost_answers and opened:
            self.log.append(("lost", opened[0].row.number))
            raise self.lost_answers.pop(0)([item.row for item in opened])
        return TakenRows([row for row in rows if row not in first], again_at, places, opened)

    def pick(self, events):
        def some(most):
            picked = [number for number in self.waiting if (number >= EVENTS) is events][:most]
            self.waiting = [number for number in self.waiting if number not in picked]
            return picked

        return some

    def open(self, items, now):
        self.log += [("open", item.number) for item in items]
        self.lots.append(len(items))
        if self.halted:
            self.waiting += [item.number for item in items]
            return []
        self.in_doubt += len(items)
        self.most_in_doubt = max(self.in_doubt, self.most_in_doubt)
        return [Opened(item) for item in items]

    async def call(self, opened):
        number = opened.row.number
        self.log.append(("call", number))
        self.begun.append(self.clock())
        if opened.row.slot:
            self.slots.append(opened.row.slot)
            self.delays.append(self.clock() - opened.row.slot)
        self.calls += 1
        self.most_calls = max(self.calls, self.most_calls)
        try:
            await asyncio.sleep(self.latency.get(number, 0.05))
            if self.answers.get(number) == "break":
                raise ZeroDivisionError("a bug, with maria@example.org in its text")
            self.log.append(("answer", number))
            return Result(number, self.answers.get(number, "done"))
        finally:
            self.calls -= 1

    def item(self, opened):
        return opened.row

    def at(self, item, slot):
        return replace(item, slot=slot)

    def opened_at(self, opened, slot):
        return Opened(replace(opened.row, slot=slot))

    def not_made(self, opened):
        self.log.append(("not made", opened.row.number))
        return Result(opened.row.number, "not made")

    def broke(self, opened, error):
        return Result(opened.row.number, type(error).__name__)

    def halts(self, result):
        return result.what == "halt"

    def leave(self):
        self.left += 1

    def turn(self, results, items, now):
        if results:
            self.finish(results, now)
        return self.open(items, now) if items else []

    def finish(self, results, now):
        if self.finish_errors:
            self.log.append(("away", -1))
            raise self.finish_errors.pop(0)
        if self.bad_rows & {result.number for result in results}:
            raise BAD_ROW
        for result in results:
            self.log.append((result.what, result.number))
            self.written[result.number] = now
            self.in_doubt -= 1
            self.halted |= result.what == "halt"
            if result.what == "not made":
                self.waiting.append(result.number)

    def release(self, items, now):
        self.log += [("release", item.number) for item in items]
        self.waiting += [item.number for item in items]

    def numbers(self, what):
        return [number for happened, number in self.log if happened == what]


@dataclass
class Bench:
    clock: VirtualClock
    stopping: asyncio.Event
    database_seconds: float = 0.01

    def rows(self, count, **how):
        return Rows(self.clock, list(range(count)), **how)

    def shift(self, rows, *, longest=MINUTE):
        return Shift(rows, clock=self.clock, in_thread=self.in_thread, stopping=self.stopping, longest=longest)

    async def in_thread(self, function, *arguments):
        await asyncio.sleep(self.database_seconds)
        return function(*arguments)

    async def run(self, rows, **how):
        return await self.shift(rows, **how).run()


@pytest.fixture
async def bench(clock):
    return Bench(clock, asyncio.Event())


async def test_every_row_is_taken_opened_called_and_written_in_that_order(bench):
    rows = bench.rows(500)
    assert await bench.run(rows) is False
    for number in range(500):
        assert [what for what, of in rows.log if of == number] == ["take", "open", "call", "answer", "done"]


async def test_no_more_calls_are_out_than_there_are_places(bench):
    rows = bench.rows(100, places=7)
    await bench.run(rows)
    assert rows.most_calls == 7


async def test_a_shift_keeps_to_the_places_that_each_taking_tells(bench):
    latency = dict.fromkeys(range(200), 1.0)
    rows = bench.rows(200, places=50, latency=latency, shares=[(0, 5), (3, 20), (6, 2)])
    going = asyncio.create_task(bench.run(rows))
    out = []
    for _ in range(9):
        await asyncio.sleep(0.9)
        out.append(rows.calls)
    assert max(out[:3]) == 5  # none of the fifty before it was told how many
    assert max(out[3:6]) == 20  # though all five were busy when there came to be more
    assert out[8] <= 2
    bench.stopping.set()
    await going


async def test_a_shift_without_places_waits_until_it_has_some(bench):
    rows = bench.rows(10, shares=[(0, 0), (2, 10)])
    await bench.run(rows)
    assert len(rows.numbers("done")) == 10
    assert min(rows.begun) >= START + timedelta(seconds=2)


@pytest.mark.parametrize("how", ["ended", "broken"])
async def test_however_a_shift_ends_it_gives_back_its_places(bench, how):
    rows = bench.rows(10, finish_errors=[ZeroDivisionError()] if how == "broken" else [])
    if how == "broken":
        with pytest.raises(ZeroDivisionError):
            await bench.run(rows)
    else:
        await bench.run(rows)
    assert rows.left == 1


async def test_with_nothing_due_a_shift_ends_at_once(bench):
    await bench.run(bench.rows(0))
    assert bench.clock.elapsed < 0.1


async def test_a_slow_call_holds_up_neither_the_others_nor_what_they_came_to(bench):
    rows = bench.rows(50, places=5, latency={0: 8})
    await bench.run(rows)
    answered = rows.begun[0] + timedelta(seconds=8)
    assert rows.written[0] >= answered
    assert max(rows.written[number] for number in range(1, 50)) < answered
    assert bench.clock.elapsed < 9


async def test_results_are_written_within_a_flush_while_calls_go_on(bench):
    rows = bench.rows(200, places=4, latency=dict.fromkeys(range(200), 0.03))
    await bench.run(rows)
    for number in range(200):
        answered = rows.begun[rows.numbers("call").index(number)] + timedelta(seconds=0.03)
        assert rows.written[number] - answered < timedelta(milliseconds=200)


async def test_attempts_are_opened_in_lots_while_many_calls_are_out(bench):
    rows = bench.rows(400, places=40, latency={number: 0.05 + number % 7 / 100 for number in range(400)})
    await bench.run(rows)
    assert sum(rows.lots) == 400
    assert len(rows.lots) < 80  # five and more at once; one by one would cost more than the calls


@pytest.mark.parametrize("places", [10, 40, 100])
async def test_places_do_not_stand_empty_while_rows_are_taken_and_results_written(bench, places):
    bench.database_seconds = 0.02
    rows = bench.rows(places * 60, places=places)
    rows.latency = {number: 0.03 + number % 41 / 1000 for number in range(places * 60)}
    await bench.run(rows)
    assert bench.clock.elapsed < 60 * 0.05 * 1.25  # one after the other it would take half as long again


@pytest.mark.parametrize("seconds", [0, 0.001, 0.02, 0.4])
@pytest.mark.parametrize("places", [3, 30, 100])
async def test_a_kill_would_leave_in_doubt_the_calls_in_flight_and_one_flush_at_most(bench, places, seconds):
    rows = bench.rows(places * 30, places=places, latency=dict.fromkeys(range(places * 30), seconds))
    await bench.run(rows)
    assert rows.most_calls == places
    assert rows.most_in_doubt <= places + max(places, FLUSH_LEAST)


async def test_behind_a_slow_provider_hardly_more_is_written_down_than_there_are_calls_in_flight(bench):
    rows = bench.rows(400, places=40, latency={number: 1 + number % 40 / 40 for number in range(400)})
    await bench.run(rows)
    assert rows.most_in_doubt <= 50


# Slots.


async def test_no_call_begins_before_its_slot_nor_long_after_it(bench):
    rows = bench.rows(60, limit=Limit.parse("20/second"))
    await bench.run(rows)
    assert len(rows.delays) == 60
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert all(later - earlier >= timedelta(milliseconds=49.9) for earlier, later in pairwise(rows.begun[1:]))
    assert bench.clock.elapsed < 3.3  # and none of the account's quota was left unused


@pytest.mark.parametrize("seconds", [0.01, 0.07])
async def test_under_a_limit_the_rows_of_a_batch_cost_a_transaction_for_each_flush_and_no_more(bench, seconds):
    """Their attempts are written down, and their results, for as many as are called for in 100 ms."""
    bench.database_seconds = seconds
    limit, latency = Limit.parse("200/second"), dict.fromkeys(range(600), 0.01)
    rows = bench.rows(600, limit=limit, horizon=ALONE, places=50, latency=latency)
    await bench.run(rows)
    assert bench.clock.elapsed < 3.5  # none of the slots was lost for it
    assert max(rows.delays[50:]) - min(rows.delays[50:]) < timedelta(milliseconds=10)  # nor any call late
    assert len([lot for lot in rows.lots if lot]) <= 33
    assert len(set(rows.written.values())) <= 33
    assert len([took for took in rows.takes if took]) <= 27


async def test_waiting_for_places_takes_no_time_of_the_processor(bench):
    """Rows with slots are ready and a place or two is free: the shift sleeps until there are more."""
    rows = bench.rows(200, places=8, limit=Limit.parse("1000/second"), latency=dict.fromkeys(range(200), 1.0))
    rows.latency |= {number: 0.9 + number % 8 / 50 for number in range(200)}
    await bench.run(rows, longest=timedelta(seconds=10))
    assert rows.most_calls == 8


async def test_a_slot_that_lapsed_before_its_call_is_given_back(bench):
    rows = bench.rows(6, places=3, limit=Limit.parse("100/second"), latency={0: 2, 1: 2, 2: 2})
    await bench.run(rows)
    assert rows.numbers("release") == [3, 4, 5]
    assert (rows.numbers("call"), rows.waiting) == ([0, 1, 2], [3, 4, 5])
    rows.latency = {}
    await bench.run(rows)  # the timer rings for them
    assert sorted(rows.numbers("done")) == list(range(6))


# Events.


@pytest.mark.parametrize("horizon", [HORIZON, ALONE])
async def test_an_event_has_the_next_slot_though_rows_of_a_batch_had_reserved_all_of_them(bench, horizon):
    limit, latency = Limit.parse("100/second"), dict.fromkeys(range(500), 0.01)
    rows = bench.rows(500, limit=limit, horizon=horizon, places=30, latency=latency)
    going, shift = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.137)
        rang_at = bench.clock()
        rows.waiting.append(number)
        shift.ring()
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
    going, shift = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 100):
        await asyncio.sleep(draw.expovariate(60))
        rows.waiting.append(number)
        shift.ring()
    await going
    assert sorted(rows.numbers("done")) == [*range(400), *range(EVENTS, EVENTS + 100)]
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert len(set(rows.slots)) == len(rows.slots)
    assert rows.most_in_doubt <= rows.places + FLUSH_LEAST


async def test_while_events_keep_coming_the_batch_keeps_its_share_of_the_calls(bench):
    rows = bench.rows(200, limit=Limit.parse("100/second"))
    rows.waiting += range(EVENTS, EVENTS + 600)
    await bench.run(rows, longest=timedelta(seconds=5))
    called = rows.numbers("call")[:400]
    assert 320 <= sum(number >= EVENTS for number in called) <= 330
    of_batch = [number for number in called if number < EVENTS]
    assert of_batch == sorted(of_batch)


async def test_where_places_are_short_an_event_has_the_next_one_that_is_free(bench):
    rows = bench.rows(400, places=4, latency=dict.fromkeys(range(400), 0.02))
    going, shift = begun(bench, rows)
    await asyncio.sleep(0.5)
    rang_at = bench.clock()
    rows.waiting.append(EVENTS)
    shift.ring()
    await going
    called_at = rows.begun[rows.numbers("call").index(EVENTS)]
    assert called_at - rang_at <= timedelta(milliseconds=60)  # of 400 ms that the rows ahead of it take


async def test_what_came_of_an_event_is_written_alone_and_the_batchs_with_their_flush(bench):
    limit, latency = Limit.parse("200/second"), dict.fromkeys(range(400), 0.01)
    rows = bench.rows(400, limit=limit, horizon=ALONE, places=50, latency=latency)
    going, shift = begun(bench, rows)
    for number in range(EVENTS, EVENTS + 10):
        await asyncio.sleep(0.11)
        rows.waiting.append(number)
        shift.ring()
    await going
    lots = Counter(rows.written.values())
    with_events = [lots[rows.written[number]] for number in range(EVENTS, EVENTS + 10)]
    assert sorted(with_events)[:7] == [1] * 7  # else it came while the others' were due
    assert len(lots) <= 22 + 10  # a flush each 100 ms, and one for each event


async def test_a_few_events_are_written_down_as_they_are_taken_and_more_of_them_wait_for_a_turn(bench):
    rows = bench.rows(0, places=40)
    rows.waiting += range(EVENTS, EVENTS + 30)
    await bench.run(rows)
    first, *more = rows.lots
    assert first == OPEN_AT_ONCE
    assert sum(more) == 30 - OPEN_AT_ONCE
    assert sorted(rows.numbers("done")) == list(range(EVENTS, EVENTS + 30))


async def test_events_whose_taking_was_not_answered_are_given_back_and_not_called_for(bench):
    rows = bench.rows(0, lost_answers=[Unsure])
    rows.waiting.append(EVENTS)
    await bench.run(rows)
    of_it = [what for what, _ in rows.log]
    assert of_it == ["take", "open", "lost", "release", "take", "open", "call", "answer", "done"]


async def test_an_event_whose_attempt_was_being_written_when_the_account_had_to_wait_is_not_called_for(bench):
    bench.database_seconds = 0.03
    rows = bench.rows(1, answers={0: "halt"}, latency={0: 0.02})
    going, shift = begun(bench, rows)
    await asyncio.sleep(0.07)  # the call is out, and comes to nothing while the event is being taken
    rows.waiting.append(EVENTS)
    shift.ring()
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
    rows = bench.rows(0, places=2, limit=Limit.parse("1/second"))
    rows.waiting += range(EVENTS, EVENTS + 50)
    going, shift = begun(bench, rows)
    for _ in range(50):
        await asyncio.sleep(0.1)
        shift.ring()
    bench.stopping.set()
    await going
    assert len(rows.takes) < 120


async def test_a_bell_for_each_flush_has_rows_of_batches_taken_in_lots(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, shift = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        shift.ring()
        await asyncio.sleep(0.01)
    await going
    assert len([took for took in rows.takes if took]) < 80  # each 50 ms in 3 s
    assert len(rows.numbers("done")) == 300


async def test_a_bell_that_is_for_no_event_takes_rows_in_lots_and_looks_for_events_in_none(bench):
    rows = bench.rows(0, latency=dict.fromkeys(range(300), 0.01))
    going, shift = begun(bench, rows)
    for number in range(300):
        rows.waiting.append(number)
        shift.ring(for_events=False)
        await asyncio.sleep(0.01)
    await going
    assert len(rows.numbers("done")) == 300
    assert len(rows.takes) < 30  # each 200 ms in 3 s, and where there were more than one taking holds


@pytest.mark.parametrize("milliseconds", range(0, 60, 7))
async def test_a_bell_for_a_row_that_rings_while_rows_are_taken_is_answered_soon(bench, milliseconds):
    bench.database_seconds = 0.05
    rows = bench.rows(1, latency={0: 0.01, 1: 0.01})
    going, shift = begun(bench, rows)
    await asyncio.sleep(milliseconds / 1000)
    rows.waiting.append(1)
    shift.ring(for_events=False)
    await going
    assert rows.numbers("done") == [0, 1]
    assert rows.begun[1] - START < TAKE_EVERY + timedelta(milliseconds=200)


def begun(bench, rows):
    shift = bench.shift(rows)
    return asyncio.create_task(shift.run()), shift


# Leases.


async def test_no_call_is_made_that_could_outlive_its_lease(bench):
    rows = bench.rows(1, lease=timedelta(seconds=9))  # the longest call takes ten
    await bench.run(rows, longest=timedelta(seconds=0.5))
    assert (rows.numbers("call"), rows.waiting) == ([], [0])


async def test_a_row_that_waited_too_long_for_its_place_is_given_back(bench):
    rows = bench.rows(3, places=2, lease=timedelta(seconds=15), latency={0: 6, 1: 6, 2: 1})
    await bench.run(rows)
    assert rows.numbers("release") == [2]
    assert sorted(rows.numbers("done") + rows.waiting) == [0, 1, 2]
    assert rows.numbers("call") == [0, 1]


async def test_rows_are_taken_for_as_many_calls_as_can_be_made_soon(bench):
    """Twice the places, and where calls are short, as many more as will be made until a bell has rows taken again."""
    rows = bench.rows(100, places=3, latency=dict.fromkeys(range(100), 1.0))
    await bench.run(rows)
    assert max(rows.takes) == 6
    rows = bench.rows(100, places=3, latency=dict.fromkeys(range(100), 0.05))
    await bench.run(rows)
    assert 9 <= max(rows.takes) <= 3 + 60 * TAKE_EVERY.total_seconds()


async def test_the_lease_is_looked_at_again_immediately_before_the_call(bench):
    rows = bench.rows(1, lease=timedelta(seconds=10.09), limit=Limit.parse("10/second"))
    rows.next_at = bench.clock() + HORIZON
    bench.database_seconds = 0.02
    await bench.run(rows)
    assert rows.numbers("call") == []
    assert set(rows.numbers("not made")) == {0}


@pytest.mark.parametrize("seconds", [1, 60])  # past the slots alone, and past the leases too
async def test_who_stood_still_makes_none_of_the_calls_that_waited_for_their_slots(bench, seconds):
    """As a process does that was stopped (SIGSTOP), or whose machine was: the clock jumps, and nothing else says so."""
    rows = bench.rows(20, limit=Limit.parse("50/second"), lease=timedelta(seconds=30), latency={0: 0.01})
    shift = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.15)
    waited = set(rows.numbers("open")) - set(rows.numbers("call"))
    bench.clock.advance(seconds=seconds)
    await shift
    assert len(waited) > 1
    assert set(rows.numbers("not made")) == waited


# The account was told to wait, or refused.


async def test_no_call_begins_once_it_is_known_that_the_account_must_wait(bench):
    rows = bench.rows(100, places=10, answers={14: "halt"}, latency={14: 0.04})
    await bench.run(rows)
    known = rows.log.index(("answer", 14))
    assert "call" not in [what for what, _ in rows.log[known:]]
    assert sorted(rows.numbers("done") + rows.waiting + [14]) == list(range(100))


@pytest.mark.parametrize("milliseconds", range(0, 60, 3))
async def test_not_even_a_call_whose_attempt_was_being_written_when_it_became_known(bench, milliseconds):
    bench.database_seconds = 0.02
    rows = bench.rows(40, places=4, latency={number: 0.03 for number in range(40)}, answers={1: "halt"})
    rows.latency[1] = 0.02 + milliseconds / 1000
    await bench.run(rows)
    known = rows.log.index(("answer", 1))
    assert "call" not in [what for what, _ in rows.log[known:]]
    assert sorted(rows.numbers("done") + rows.waiting + [1]) == list(range(40))


async def test_a_call_that_waits_for_its_slot_is_not_made_once_the_account_must_wait(bench):
    rows = bench.rows(10, limit=Limit.parse("20/second"), answers={0: "halt"}, latency={0: 0.01})
    await bench.run(rows)
    assert rows.numbers("call") == [0]
    assert sorted(rows.waiting) == list(range(1, 10))


@pytest.mark.parametrize("gap", [4, 8, 12, 16])
@pytest.mark.parametrize("first", range(10, 110, 10))
async def test_after_two_answers_that_told_it_to_wait_slots_are_kept_to_as_before(bench, first, gap):
    """The second comes while the first is being dealt with: it must not leave the shift in a hurry."""
    rows = bench.rows(60, limit=Limit.parse("20/second"), answers={1: "halt", 2: "halt"})
    rows.latency = {0: 3, 1: 0.05 + first / 1000, 2: (first + gap) / 1000}
    shift = bench.shift(rows)
    going = asyncio.create_task(shift.run())
    await asyncio.sleep(0.5)
    rows.halted = False  # the pause was a short one
    shift.ring()
    await going
    assert sorted(rows.numbers("done") + rows.waiting + rows.numbers("halt")) == list(range(60))
    assert all(timedelta(0) <= delay <= LAPSE for delay in rows.delays)
    assert len(rows.delays) > 30


# The end of a shift.


async def test_after_its_longest_time_a_shift_takes_no_more_and_says_that_there_was_more(bench):
    rows = bench.rows(1000, places=2)
    assert await bench.run(rows, longest=timedelta(seconds=2)) is True
    assert 2 <= bench.clock.elapsed < 2.5
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(1000))


async def test_stopping_gives_back_what_was_not_called_and_waits_for_what_was(bench):
    rows = bench.rows(300, places=5, latency={2: 4})
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.2)
    bench.stopping.set()
    began = bench.clock.elapsed
    assert await going is False
    assert bench.clock.elapsed - began < 4.5
    assert rows.calls == 0
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(300))
    assert 2 in rows.numbers("done")


async def test_stopping_with_no_call_out_ends_within_a_moment(bench):
    rows = bench.rows(300, places=5, limit=Limit.parse("1/second"))
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(1.5)
    bench.stopping.set()
    began = bench.clock.elapsed
    await going
    assert bench.clock.elapsed - began <= LINGER.total_seconds() + 0.2


async def test_a_shift_that_has_stopped_before_it_began_takes_nothing(bench):
    bench.stopping.set()
    rows = bench.rows(3)
    await bench.run(rows)
    assert rows.log == []


async def test_a_bell_makes_a_shift_look_again_before_it_ends(bench):
    rows = bench.rows(1, latency={0: 0.5})
    shift = bench.shift(rows)
    going = asyncio.create_task(shift.run())
    await asyncio.sleep(0.2)
    rows.waiting.append(7)
    shift.ring()
    await going
    assert rows.numbers("done") == [7, 0]


async def test_what_comes_due_within_the_linger_is_waited_for(bench):
    rows = bench.rows(3, limit=Limit.parse("2/second"))
    await bench.run(rows)
    assert len(rows.numbers("done")) == 3


async def test_what_comes_due_later_is_left_to_the_timer(bench):
    rows = bench.rows(2, limit=Limit.parse("1/minute"))
    await bench.run(rows)
    assert rows.numbers("done") == [0]
    assert bench.clock.elapsed < 2


# What goes wrong.


async def test_a_bug_in_a_call_keeps_the_row_and_says_no_value_of_it(bench, caplog):
    rows = bench.rows(20, answers={3: "break"})
    await bench.run(rows)
    assert rows.numbers("ZeroDivisionError") == [3]
    assert len(rows.numbers("done")) == 19
    assert "ZeroDivisionError" in caplog.text
    assert "maria" not in caplog.text


async def test_results_wait_for_a_database_that_is_away(bench, caplog):
    rows = bench.rows(30, finish_errors=[AWAY, AWAY])
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == list(range(30))
    assert len(rows.numbers("call")) == 30
    assert "the database is away" in caplog.text
    assert bench.clock.elapsed > 2


async def test_no_call_begins_while_results_cannot_be_written(bench):
    """Neither one whose attempt is written down already, nor one whose attempt was to be written with them."""
    rows = bench.rows(300, places=10, latency={number: 0.02 + number % 5 / 100 for number in range(300)})
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.3)
    rows.finish_errors += [AWAY, AWAY, AWAY]
    await going
    away, *_, back = (index for index, (what, _) in enumerate(rows.log) if what == "away")
    assert {what for what, _ in rows.log[away:back]} <= {"away", "answer", "not made", "take"}
    assert sorted(rows.numbers("done")) == list(range(300))
    assert sorted(rows.numbers("call")) == list(range(300))


async def test_nothing_is_taken_while_results_cannot_be_written(bench):
    rows = bench.rows(4, places=10, finish_errors=[AWAY] * 5)
    shift = bench.shift(rows)
    going = asyncio.create_task(shift.run())
    await asyncio.sleep(1)
    rows.waiting += [10, 11]
    shift.ring()
    await asyncio.sleep(2)
    assert sorted(rows.numbers("take")) == [0, 1, 2, 3]
    await going
    assert sorted(rows.numbers("done")) == [0, 1, 2, 3, 10, 11]


async def test_a_result_that_cannot_be_written_does_not_take_the_others_with_it(bench, caplog):
    rows = bench.rows(30, bad_rows={4, 5})
    await bench.run(rows)
    assert sorted(rows.numbers("done")) == sorted(set(range(30)) - {4, 5})
    assert "IntegrityError" in caplog.text


async def test_a_shift_that_breaks_while_taking_still_writes_what_was_called(bench):
    rows = bench.rows(4, places=2, latency={1: 2})
    took = rows.take

    def take(room, now):
        if rows.log:
            raise AWAY
        rows.waiting, kept = rows.waiting[:2], rows.waiting[2:]
        taken = took(room, now)
        rows.waiting = kept
        return TakenRows(taken.items, now)

    rows.take = take
    with pytest.raises(sa.exc.OperationalError):
        await bench.run(rows)
    assert sorted(rows.numbers("done")) == [0, 1]
    assert rows.calls == 0


async def test_a_shift_that_is_cancelled_still_writes_what_was_called_and_gives_back_the_rest(bench):
    rows = bench.rows(100, places=5, latency=dict.fromkeys(range(100), 1.0))
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(0.5)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert rows.calls == 0
    assert len(rows.numbers("done")) == 5
    assert sorted(rows.numbers("done") + rows.waiting) == list(range(100))


async def test_a_shift_that_is_cancelled_without_a_place_leaves_nothing_in_doubt(bench):
    """Its places went to others while attempts were written down ahead: their calls were not made, and it says so."""
    latency = {number: 0.7 + number % 5 / 20 for number in range(300)}
    rows = bench.rows(300, places=20, latency=latency, shares=[(0, 20), (0.7, 0)])
    bench.database_seconds = 0.3
    going = asyncio.create_task(bench.run(rows))
    await asyncio.sleep(1.9)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert set(rows.numbers("not made"))
    assert set(rows.numbers("open")) == set(rows.numbers("done") + rows.numbers("not made"))
