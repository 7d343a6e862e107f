"""The order in which a dispatcher calls its rows, and which slots the rows get."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.dispatch.event_priority import deal

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    number: int
    is_event: bool
    slot: datetime | None


def dealt(rows):
    return deal(rows, item=lambda row: row, at=lambda row, slot: replace(row, slot=slot))


@st.composite
def claimed(draw):
    """Rows as they were claimed, one chunk after the other, each with the next slot."""
    kinds = draw(st.lists(st.booleans(), max_size=40))
    return [Row(number, kind, NOON + timedelta(milliseconds=5 * number)) for number, kind in enumerate(kinds)]


@given(claimed())
def test_events_come_first_and_each_kind_keeps_its_order(rows):
    numbers = [row.number for row in dealt(rows)]
    assert numbers == [row.number for row in rows if row.is_event] + [row.number for row in rows if not row.is_event]


@given(claimed())
def test_the_slots_stay_the_same_ones_and_in_their_order(rows):
    assert [row.slot for row in dealt(rows)] == [row.slot for row in rows]


@given(claimed(), claimed())
def test_no_event_waits_behind_a_batch_row_however_often_more_rows_are_claimed(rows, more):
    later = [replace(row, slot=row.slot + timedelta(seconds=1)) for row in more]
    both = dealt([*dealt(rows), *later])
    latest_event = max((row.slot for row in both if row.is_event), default=NOON)
    assert all(row.is_event or row.slot >= latest_event for row in both)


def test_rows_without_slots_change_their_order_alone():
    rows = [Row(0, False, None), Row(1, True, None)]
    assert [(row.number, row.slot) for row in dealt(rows)] == [(1, None), (0, None)]


def test_if_no_event_waits_behind_a_batch_row_the_rows_stay_the_same_objects():
    rows = [Row(0, True, NOON), Row(1, False, NOON)]
    assert all(one is other for one, other in zip(dealt(rows), rows, strict=True))
