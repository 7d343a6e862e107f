"""Which opened row is called next, and in which slot; what waits to be written, and what was busy meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.dispatch.state import BusyStretch, FlushTasks, OpenedRows, Results
from onboarding_worker.core.rules.throughput import Stretch
from tests.simulated.bench import EVENTS, MINUTE, Row

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STRETCH = timedelta(seconds=1)
SLOTS = [NOW + timedelta(seconds=second) for second in range(6)]


def opened(*numbers, slots=()):
    rows = OpenedRows()
    rows.add([Row(number, NOW + MINUTE, number >= EVENTS) for number in numbers], slots, timedelta(seconds=1), 0)
    return rows


def test_events_go_first_each_in_the_earliest_slot():
    rows = opened(0, 1, EVENTS, slots=[SLOTS[2], SLOTS[0]])
    rows.add([Row(EVENTS + 1, NOW + MINUTE, True)], [SLOTS[1], SLOTS[3]], timedelta(seconds=1), 0)
    taken = [rows.take() for _ in range(4)]
    assert [row.number for row, *_ in taken] == [EVENTS, EVENTS + 1, 0, 1]
    assert [(is_event, slot) for _, is_event, slot, _ in taken] == list(
        zip([True, True, False, False], SLOTS, strict=False)
    )


def test_for_a_slot_that_has_passed_the_row_is_given_up_that_has_waited_least_and_an_event_last():
    rows = opened(0, 1, EVENTS, EVENTS + 1, slots=SLOTS[:4])
    taken = [rows.take(last=True) for _ in range(4)]
    assert [(row.number, is_event) for row, is_event, *_ in taken] == [
        (1, False),
        (0, False),
        (EVENTS + 1, True),
        (EVENTS, True),
    ]


def test_the_slots_of_rows_that_are_given_up_are_unused_once():
    rows = opened(0, EVENTS, slots=SLOTS[:2])
    assert [row.number for row in rows.take_all()] == [EVENTS, 0]
    assert (len(rows), rows.next_slot()) == (0, None)
    assert (rows.unused(), rows.unused()) == (SLOTS[:2], [])


def test_a_row_without_a_slot_is_called_before_any_slot_and_each_knows_the_halts_of_its_own_flush():
    rows = opened(0)
    assert not rows.add([Row(1, NOW + MINUTE)], [SLOTS[1]], timedelta(seconds=2), 3)
    assert rows.add([Row(EVENTS, NOW + MINUTE, True)], (), timedelta(0), 4)
    assert (len(rows), [row.number for row in rows.oldest]) == (3, [EVENTS, 0])
    assert [(row.number, slot, halts) for row, _, slot, halts in (rows.take() for _ in range(3))] == [
        (EVENTS, None, 4),
        (0, None, 0),
        (1, SLOTS[1], 3),
    ]
    assert rows.oldest == []


def test_the_least_time_between_calls_is_that_of_the_last_rows():
    rows = opened(0, slots=SLOTS[:1])
    rows.add([], [], timedelta(0), 0)
    assert rows.spacing == timedelta(seconds=1)
    rows.add([Row(1, NOW + MINUTE)], [SLOTS[1]], timedelta(seconds=2), 0)
    assert rows.spacing == timedelta(seconds=2)


def test_rows_without_slots_leave_none_unused():
    rows = opened(0, 1)
    rows.take_all()
    rows.not_used(None)
    assert rows.unused() == []


@pytest.mark.parametrize(
    ("of_events", "others", "taken", "left"),
    [(True, False, "ab", "cd"), (False, True, "cd", "ab"), (True, True, "abcd", ""), (False, False, "", "abcd")],
)
def test_results_of_events_are_taken_before_the_others_and_each_once(of_events, others, taken, left):
    results = Results()
    results.of_events += "ab"
    results.others += "cd"
    assert results.take(of_events=of_events, others=others) == [*taken]
    assert len(results) == len(left)
    assert results.take(of_events=True, others=True) == [*left]


def test_a_stretch_of_calls_is_written_once_rows_have_waited_long_enough():
    stretch = BusyStretch(NOW)
    busy = {"waiting": True, "results": True}
    assert stretch.at_flush(NOW + STRETCH, **busy) is None  # it begins here
    began = NOW + STRETCH
    stretch.calls += 2
    assert stretch.at_flush(began + STRETCH - timedelta(milliseconds=1), **busy) is None
    assert stretch.at_flush(began + STRETCH, waiting=True, results=False) is None
    stretch.calls += 1
    assert stretch.at_flush(began + STRETCH * 2, **busy) == Stretch(3, STRETCH * 2)
    assert stretch.at_flush(began + STRETCH * 9, **busy) is None  # no call has ended since
    stretch.calls += 1
    assert stretch.at_flush(began + STRETCH * 9, **busy) == Stretch(1, STRETCH * 7)
    stretch.calls += 1
    assert stretch.at_flush(began + STRETCH * 10, waiting=False, results=True) is None
    stretch.calls += 1
    assert stretch.at_flush(began + STRETCH * 12, **busy) is None  # begun anew
    stretch.calls += 5
    assert stretch.at_flush(began + STRETCH * 13, **busy) == Stretch(5, STRETCH)


async def test_a_flush_that_has_ended_frees_its_task_and_raises_what_a_claim_raised():
    tasks, never = FlushTasks(), asyncio.Event()
    going, ended = tasks.batches
    going.flush, going.rows = asyncio.create_task(never.wait()), 3
    ended.flush, ended.rows, ended.results = asyncio.create_task(asyncio.sleep(0)), 5, 7
    tasks.of_halts |= {going, ended}
    assert (tasks.of_batches, len(tasks.under_way)) == (2, 2)
    await ended.flush
    tasks.end()
    assert (tasks.of_batches, tasks.under_way, tasks.of_halts) == (1, [going.flush], {going})
    assert (ended.flush, ended.rows, ended.results, going.rows) == (None, 0, 0, 3)

    async def fails():
        raise ZeroDivisionError

    tasks.events.flush = asyncio.create_task(fails())
    assert (tasks.of_batches, len(tasks.under_way)) == (1, 2)
    await asyncio.wait([tasks.events.flush])
    with pytest.raises(ZeroDivisionError):
        tasks.end()
    assert tasks.events.flush is None
    going.flush.cancel()
