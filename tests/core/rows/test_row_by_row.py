"""Which rows of a chunk are set aside, whatever the work is: those that raise by themselves, and no others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.rows.row_by_row import SAMPLE, Chunk, row_by_row


class Worked:
    """Works the rows that are not set aside. `look` is called with the ids of each try, and may raise."""

    def __init__(self, rows: int, look: Callable[[list[int]], object]) -> None:
        self.rows = [SimpleNamespace(id=number) for number in range(rows)]
        self.look = look
        self.aside: dict[int, str] = {}

    @contextmanager
    def write(self) -> Iterator[Any]:
        yield SimpleNamespace(dialect=SimpleNamespace(name="sqlite"))

    def run(self) -> list[int]:
        return row_by_row(self, "rows", self._work, self._set_aside)  # type: ignore[arg-type]

    def _work(self, _connection: Any, chunk: Chunk) -> list[int]:
        ids = [row.id for row in chunk.of(row for row in self.rows if row.id not in self.aside)]
        self.look(ids)
        return ids

    def _set_aside(self, _connection: Any, bad: Any) -> None:
        self.aside |= bad


def raising_for(*bad: int) -> Callable[[list[int]], None]:
    def look(ids: list[int]) -> None:
        if set(ids) & set(bad):
            raise ZeroDivisionError

    return look


@pytest.mark.parametrize("rows", [5, 3 * SAMPLE])
def test_the_rows_that_raise_by_themselves_are_set_aside_and_the_others_are_worked(rows: int):
    worked = Worked(rows, raising_for(0, 3))
    assert worked.run() == [number for number in range(rows) if number not in (0, 3)]
    assert worked.aside == {0: "ZeroDivisionError", 3: "ZeroDivisionError"}


def test_work_that_raises_without_any_row_is_no_rows_fault():
    def look(_ids: list[int]) -> None:
        raise ZeroDivisionError

    worked = Worked(5, look)
    with pytest.raises(ZeroDivisionError):
        worked.run()
    assert worked.aside == {}


@pytest.mark.parametrize("rows", [SAMPLE, 2 * SAMPLE])
def test_if_every_row_of_a_large_chunk_raises_none_is_set_aside(rows: int):
    worked = Worked(rows, raising_for(*range(rows)))
    with pytest.raises(ZeroDivisionError):
        worked.run()
    assert worked.aside == {}


def test_if_every_row_of_a_small_chunk_raises_each_is_set_aside():
    worked = Worked(SAMPLE - 1, raising_for(*range(SAMPLE)))
    assert worked.run() == []
    assert set(worked.aside) == set(range(SAMPLE - 1))


def test_rows_that_raise_one_after_the_other_are_told_from_a_fault_of_all():
    worked = Worked(3 * SAMPLE, raising_for(*range(SAMPLE)))
    assert worked.run() == list(range(SAMPLE, 3 * SAMPLE))


def test_a_row_that_comes_again_after_it_was_set_aside_ends_the_work():
    class Leased(Worked):
        def _set_aside(self, _connection: Any, bad: Any) -> None:
            self.asked = [*getattr(self, "asked", []), *bad]  # in vain: only `work` releases the row
            if len(self.asked) > 5:
                pytest.fail("it goes round for ever")

    worked = Leased(5, raising_for(3))
    with pytest.raises(ZeroDivisionError):
        worked.run()
    assert worked.asked == [3]


@pytest.mark.parametrize("outage_at", [1, 2, 3])
def test_a_database_that_cannot_be_reached_is_no_rows_fault_whenever_it_happens(outage_at: int):
    tries = 0

    def look(ids: list[int]) -> None:
        nonlocal tries
        tries += 1
        if tries == outage_at:
            raise sa.exc.OperationalError(None, None, Exception("connection refused"))
        if 3 in ids:
            raise ZeroDivisionError

    worked = Worked(5, look)
    with pytest.raises(sa.exc.OperationalError):
        worked.run()
    assert worked.aside == {}
