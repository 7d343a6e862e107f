"""What becomes of a list and of each of its lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.domain.model.customers import Customer, FieldProblem


@dataclass(frozen=True)
class RawLine:
    """One line as a reader found it: cells by our column names, or why it cannot be told into cells.

    `problems` are what the reader found wrong beside the cells, such as a key that is no column.
    """

    row: int  # as a spreadsheet numbers it: the header is 1; of JSON lines, the line's number
    cells: Mapping[str, Any] | FieldProblem
    problems: tuple[FieldProblem, ...] = ()

    def __repr__(self) -> str:
        return f"RawLine(row={self.row}, …)"


@dataclass(frozen=True)
class Accepted:
    """A line that is a customer."""

    row: int
    customer: Customer


@dataclass(frozen=True)
class Rejected:
    """A line that is refused, with everything that is wrong with it. `customer_id` is empty unless it is valid."""

    row: int
    customer_id: str
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True)
class Duplicate:
    """A good line for a customer and purpose that row `of_row` of the same list has already brought."""

    row: int
    customer_id: str
    of_row: int


Line = Accepted | Rejected | Duplicate


class ListRefused(Exception):
    """The list as a whole cannot be read. `reasons` are for people and hold nothing from below the header."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)


class Refusal(NamedTuple):
    """Why a rule refuses a cell: the value's shape, never the value; and what to do."""

    problem: str
    hint: str = ""

    def at(self, column: str) -> FieldProblem:
        return FieldProblem(column, self.problem, self.hint)


def characters(text: str) -> str:
    """The length in words, for naming a value by its shape."""
    return "1 character" if len(text) == 1 else f"{len(text):,} characters"
