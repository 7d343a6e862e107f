"""The warnings of a list by kind, for people: a list with the same warning in each row says it once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.core.customers.customers import FieldProblem

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

    def merge(self, later: "Kind") -> None:
        self.count += later.count
        self.differs = self.differs or later.differs or later.problem != self.problem
        self.rows += later.rows[: NAMED - len(self.rows)]

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


class Warned:
    """The warnings of rows by kind, in the order of their first rows; what comes after the most kinds is not kept.

    The text of a warning describes one value ("the same address as row 7"); its remedy is the same for all values.
    """

    def __init__(self) -> None:
        self.count = 0  # of the warnings, also of those whose kind is not kept
        self._kinds: dict[tuple[str, str, bool], Kind] = {}

    def add(self, row: int | None, problem: FieldProblem) -> None:
        """Note a warning; without a row, one of the whole list."""
        self.count += 1
        key = (*problem.remedy, row is None)
        if key in self._kinds or len(self._kinds) < MOST_KINDS:
            self._kinds.setdefault(key, Kind(problem)).add(row, problem)

    def merge(self, later: "Warned") -> None:
        """Note the warnings of later rows too."""
        self.count += later.count
        for key, kind in later._kinds.items():
            if key in self._kinds:
                self._kinds[key].merge(kind)
            elif len(self._kinds) < MOST_KINDS:
                self._kinds[key] = kind

    @property
    def kinds(self) -> list[Kind]:
        return list(self._kinds.values())


def warned_of(found: Iterable[tuple[int | None, FieldProblem]]) -> Warned:
    warned = Warned()
    for row, problem in found:
        warned.add(row, problem)
    return warned
