"""The pace of one batch: who has a place now, who waits until when, and whose plan it is."""

from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets.batch_pace import (
    MESSAGES,
    SESSIONS,
    PacedRow,
    give_back,
    give_places,
    interval,
    planned_at,
    starts_later,
    take,
)
from onboarding_worker.core.database.tables import BatchPlan
from onboarding_worker.core.model.endings import Later
from onboarding_worker.core.model.reasons import Reason
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases

TICK, TOLERANCE, HOUR = timedelta(microseconds=1), timedelta(seconds=10), timedelta(hours=1)
MINUTELY = 60  # places an hour
MINUTE = interval(MINUTELY)


@pytest.mark.parametrize("per_hour", [1, 7, 60, 3600])
def test_places_are_so_far_apart_that_no_hour_has_more_even_if_the_first_is_used_late(per_hour, clock):
    planned = [planned_at(per_hour, clock(), index) for index in range(per_hour + 1)]
    assert planned[0] == clock()
    assert {later - earlier for earlier, later in pairwise(planned)} == {interval(per_hour)}
    assert timedelta(0) <= planned[-1] - planned[0] - HOUR - TOLERANCE < per_hour * TICK


@pytest.mark.parametrize(
    ("next_in", "weights", "waits", "free"),
    [
        (None, [1, 1, 1], [None, 1, 2], 1),
        (timedelta(0), [1, 1], [None, 1], 1),
        (-TOLERANCE, [1, 1], [None, 1], 1),
        (TICK, [1, 1], [0, 1], 0),
        (-MINUTE, [2, 1], [None, 2], 2),
        (-MINUTE, [], [], 0),
    ],
)
def test_a_row_goes_when_its_first_place_has_come_and_takes_one_for_each_message(clock, next_in, weights, waits, free):
    """`waits` and `free` are numbers of places, from the first one that a row may have on."""
    now = clock()
    first = now if next_in is None else max(now + next_in, now - TOLERANCE)
    found = give_places(MINUTELY, None if next_in is None else now + next_in, weights, now=now)
    assert found.again_at == [None if wait is None else first + MINUTE * wait for wait in waits]
    assert found.next_at == first + MINUTE * free


@pytest.fixture
def batches(shelf):
    """Three batches with a pace, one without, and one without a plan."""
    now = shelf.clock()
    found = [shelf.add(customer(f"C{number}")) for number in range(5)]
    for batch, per_hour, start_at in zip(
        found, [MINUTELY, MINUTELY, MINUTELY, None], [now, now + TICK, now + HOUR, now + HOUR], strict=False
    ):
        words = dict.fromkeys(("first", "condition", "verdict", "numbers"), "")
        plan = {"batch_id": batch, "per_hour": per_hour, "start_at": start_at, "send_next_at": now, **words}
        with shelf.database.write() as connection:
            connection.execute(sa.insert(BatchPlan).values(**plan))
    return found


def test_only_the_starts_of_these_batches_that_have_not_come_are_found(shelf, batches):
    with shelf.database.read() as connection:
        found = starts_later(connection, [batches[index] for index in (0, 1, 3, 4)], now=shelf.clock())
    assert found == {batches[1]: shelf.clock() + TICK, batches[3]: shelf.clock() + HOUR}


def test_rows_take_and_give_back_the_places_of_their_own_batch(shelf, batches):
    one, other, unasked, unpaced, unplanned = batches
    now = shelf.clock()
    shelf.set(BatchPlan, BatchPlan.batch_id == other, issue_next_at=now + HOUR)
    rows = [
        PacedRow(1, one),
        PacedRow(2, other),
        PacedRow(3, one, 2),
        PacedRow(4, unpaced),
        PacedRow(5, unplanned),
        PacedRow(6, one),
    ]
    shelf.set(BatchPlan, BatchPlan.batch_id == one, issue_next_at=now - MINUTE)
    with shelf.database.write() as connection:
        kept = take(connection, rows, SESSIONS, now=now)
    begins = now - TOLERANCE
    places = {row.batch_id: row for row in shelf.rows(BatchPlan)}
    assert kept == {
        2: Later(now + HOUR, Reason.PLANNED),
        3: Later(begins + MINUTE, Reason.PLANNED),
        6: Later(begins + 3 * MINUTE, Reason.PLANNED),
    }
    assert [places[batch].issue_next_at for batch in (one, other, unasked, unpaced)] == [
        begins + MINUTE,
        now + HOUR,
        None,
        None,
    ]
    assert {row.send_next_at for row in places.values()} == {now}
    with shelf.database.write() as connection:
        give_back(connection, [rows[0], PacedRow(7, one, 2), rows[3], rows[4]], SESSIONS)
        give_back(connection, [PacedRow(8, other)], MESSAGES)
    after = {row.batch_id: row for row in shelf.rows(BatchPlan)}
    assert [after[batch].issue_next_at for batch in (one, other, unasked, unpaced)] == [
        begins - 2 * MINUTE,
        now + HOUR,
        None,
        None,
    ]
    assert [after[batch].send_next_at for batch in (one, other)] == [now, now - MINUTE]
