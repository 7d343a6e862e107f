"""Which opened row is called next, and in which slot."""

from datetime import UTC, datetime, timedelta

from tests.simulated.bench import EVENTS, MINUTE, Row
from worker.core.dispatch.state import OpenedRows

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
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
