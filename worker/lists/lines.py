"""The results of reading a list and each of its lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.customers.refusals import AS_TEXT, Refusal
from worker.core.model.placeholders import SHEET_ERRORS


# Not frozen, and nothing changes them: a list makes both for each row, and a frozen one costs four times as much.
@dataclass
class RawLine:
    """One line as the reader gives it: cells by our column names, or why it cannot be split into cells.

    `problems` are further problems that the reader found, such as a key that is not a column.
    """

    row: int  # the row number in a spreadsheet, where the header is 1; for JSON lines, the line number
    cells: Mapping[str, Any] | FieldProblem
    problems: tuple[FieldProblem, ...] = ()

    def __repr__(self) -> str:
        return f"RawLine(row={self.row}, …)"


class OpenQuote(FieldProblem):
    """The problem of a row with a quote that is not closed: the rows below it are read, but they are a guess."""


@dataclass
class Accepted:
    """A line that is a customer.

    `if_used` are the problems of columns that may be used by nothing: see `ListOptions`. The customer has no value
    there.
    """

    row: int
    customer: Customer
    if_used: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A refused line with its problems. `customer_id` is empty unless it is valid.

    `rest` is the customer without the wrong cells: a caller who knows the accounts and templates finds further
    problems in it. None: the line has no cells that could be read.
    """

    row: int
    customer_id: str
    problems: tuple[FieldProblem, ...]
    if_used: tuple[FieldProblem, ...] = ()
    rest: Customer | None = None


@dataclass(frozen=True)
class Duplicate:
    """A valid line for a customer and purpose that row `of_row` of the same list has too."""

    row: int
    customer_id: str
    of_row: int


@dataclass(frozen=True, repr=False)
class Returned:
    """A row of a report of ours that has come back. Its cells are not checked: only what is stored about the customer
    says which of them were changed. `state`: what the report said of the row; empty for a row that a person added.
    `guessed`: the file does not say its encoding, so letters beyond ASCII may be others."""

    row: int
    customer_id: str
    cells: Mapping[str, Any]
    state: str = ""
    guessed: bool = False


Line = Accepted | Rejected | Duplicate | Returned


class ListRefused(Exception):
    """The whole list cannot be read. `reasons` are for people and contain nothing from below the header.

    `renames` are our likely names for unknown columns, `unknown` the other unknown columns.
    """

    def __init__(
        self, reasons: Sequence[str], *, renames: Mapping[str, str] | None = None, unknown: Sequence[str] = ()
    ) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)
        self.renames = dict(renames or {})
        self.unknown = list(unknown)


_TOO_NARROW = Refusal("nothing but #: in the spreadsheet the column was too narrow for its values", AS_TEXT)


def sheet_error(text: str) -> Refusal:
    """Why a cell with an error of the spreadsheet is not used."""
    return Refusal(f"the spreadsheet's error {text if text in SHEET_ERRORS else ''}".rstrip(), "mend the formula")


def unless_lost_in_sheet(text: str) -> Refusal | None:
    """Why a cell is not used that has a spreadsheet's error, or the signs in place of a value; None for others."""
    if text in SHEET_ERRORS:
        return sheet_error(text)
    return _TOO_NARROW if len(text) > 1 and not text.strip("#") else None
