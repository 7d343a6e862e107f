"""The warnings of a list by kind, for people: a list with the same warning in each row says it once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.cli.lists.found_rows import Found
from worker.domain.model.customers import FieldProblem

MOST_KINDS = 1000  # in memory
NAMED = 3  # rows


@dataclass
class Kind:
    """One kind of warning: how many rows have it, the numbers of the first, and the warning of the first."""

    problem: FieldProblem
    count: int = 0
    rows: list[int] = field(default_factory=list)
    differs: bool = False  # in the words of another row

    def add(self, row: int | None, problem: FieldProblem) -> None:
        self.count += 1
        self.differs = self.differs or problem != self.problem
        if row is not None and len(self.rows) < NAMED:
            self.rows.append(row)

    @property
    def in_words(self) -> str:
        """`40 rows (2, 3, 4, …), date_of_birth: 10 characters that are not YYYY-MM-DD (write …)`."""
        named = ", ".join(f"{row}" for row in self.rows)
        where = f"row {named}" if self.rows else ""
        if self.rows and self.count > 1:
            where = f"{self.count:,} rows ({named}{', …' if self.count > len(self.rows) else ''})"
        place = ", ".join(filter(None, (where, self.problem.column))) or "the list"
        hint = f" ({self.problem.hint})" if self.problem.hint else ""
        return f"{place}: {'such as: ' if self.differs else ''}{self.problem.problem}{hint}"


def kinds_of(found: Iterable[Found]) -> list[Kind]:
    """The kinds in the order of their first rows; what comes after the most kinds is left out.

    The text of a warning describes one value ("the same address as row 7"); its hint is the same for all values.
    """
    kinds: dict[tuple[str, str, bool], Kind] = {}
    for row, problem in found:
        key = (problem.column, problem.hint or problem.problem, row is None)
        if key not in kinds and len(kinds) >= MOST_KINDS:
            continue
        kinds.setdefault(key, Kind(problem)).add(row, problem)
    return list(kinds.values())
