"""Counts why rows were refused, for a line or two after an import."""

from collections.abc import Iterable

from worker.core.customers.customers import FieldProblem


class Refusals:
    """The refused rows by their problems. Problems of one column with one remedy count as one reason."""

    def __init__(self) -> None:
        self.rows = 0
        self._found: dict[tuple[str, str], tuple[int, FieldProblem]] = {}

    def add(self, problems: Iterable[FieldProblem]) -> None:
        """Count a refused row."""
        self.rows += 1
        # The text of a problem describes one value ("22 characters without an @"); the remedy is the same for all.
        for key, problem in {one.remedy: one for one in problems}.items():
            number, first = self._found.get(key, (0, problem))
            self._found[key] = (number + 1, first)

    def top(self, most: int) -> list[tuple[int, FieldProblem]]:
        """The commonest reasons: how many rows, and the problem of the first."""
        return sorted(self._found.values(), key=lambda one: -one[0])[:most]
