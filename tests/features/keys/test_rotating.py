"""A rotation leaves time to others, and tries locked rows again."""

from datetime import UTC, datetime

import pytest

from onboarding_worker.features.keys.command import PASSES, rotate
from onboarding_worker.features.keys.store.key_rotation import Rotated
from onboarding_worker.wiring.store.encrypted_columns import ENCRYPTED

TODAY = datetime(2026, 11, 20, tzinfo=UTC)


class Timed:
    """A rotation whose chunks take `takes` seconds; `chunks` come in turn, for the first column."""

    columns = ENCRYPTED[:1]

    def __init__(self, *chunks, takes=0.0):
        self.chunks, self.takes, self.now, self.paused = list(chunks), takes, 0.0, []

    def chunk(self, _column, _after, *, now):
        self.now += self.takes
        return self.chunks.pop(0) if self.chunks else Rotated(None)

    def run(self, per_second=1000):
        found = rotate(
            self, per_second=per_second, seconds=lambda: self.now, pause=self.paused.append, clock=lambda: TODAY
        )
        return found[self.columns[0].name]


def test_it_changes_no_more_rows_in_a_second_than_it_may():
    timed = Timed(Rotated("a", 200), Rotated(None, 100), takes=0.01)
    assert timed.run(per_second=1000).changed == 300
    assert timed.paused == [pytest.approx(0.19), pytest.approx(0.09)]


def test_a_slow_database_has_as_much_time_for_others():
    timed = Timed(Rotated(None, 200), takes=3.0)
    timed.run(per_second=1000)
    assert timed.paused == [3.0]


def test_looking_costs_no_pause():
    timed = Timed(Rotated("a"), Rotated(None), takes=1.0)
    timed.run()
    assert timed.paused == []


def test_rows_that_were_locked_are_tried_again():
    found = Timed(Rotated(None, 5, busy=2), Rotated(None, 2)).run()
    assert (found.changed, found.busy) == (7, 0)


def test_rows_that_stay_locked_are_said_and_not_tried_for_ever():
    found = Timed(*[Rotated(None, busy=1)] * (PASSES + 3)).run()
    assert found.busy == 1
