"""What settles the rows of a report is made with the first of them: a list that is no report needs nothing of it."""

from collections.abc import Iterator, Sequence
from typing import Any

from worker.lists.lines import Change, Later, Returned

LINE = Returned(2, "C-1", {})


class Settling:
    def __init__(self, *, acts: bool = True) -> None:
        self.changes: list[Change] = []
        self.corrected, self.batches, self.acts = 0, {7}, acts

    def settle(self, lines: Sequence[Returned]) -> Iterator[Any]:
        self.changes += [Change(line.row, "C-1", f"acts: {self.acts}") for line in lines]
        self.corrected += len(lines) if self.acts else 0
        return iter(lines)

    def foreseeing(self) -> "Settling":
        return Settling(acts=False)


def test_nothing_is_made_for_a_list_that_is_no_report():
    made: list[Settling] = []
    later = Later(lambda: made.append(Settling()) or made[-1])

    assert (*later.changes, later.corrected, *later.batches) == (0,)
    assert made == []


def test_all_rows_of_a_report_are_settled_by_the_same():
    later = Later(Settling)

    settled = [*later.settle([LINE]), *later.settle([LINE])]

    assert (len(settled), len(later.changes), later.corrected, later.batches) == (2, 2, 2, {7})


def test_what_only_foresees_changes_nothing_also_where_it_is_asked_for_twice():
    foreseeing = Later(Settling).foreseeing()

    assert [*foreseeing.foreseeing().settle([LINE])] == [LINE]

    assert [one.what for one in foreseeing.changes] == ["acts: False"]
    assert foreseeing.corrected == 0
