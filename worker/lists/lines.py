"""The results of reading a list and each of its lines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.model.masked import masked_phone
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


class Refusal(NamedTuple):
    """Why a rule refuses a cell, and what to do. The text describes the value and never repeats it."""

    problem: str
    hint: str = ""

    def at(self, column: str) -> FieldProblem:
        return FieldProblem(column, self.problem, self.hint)


def characters(text: str) -> str:
    """The length in words, to describe a value without repeating it."""
    return "1 character" if len(text) == 1 else f"{len(text):,} characters"


AS_TEXT = "format the column as text in the spreadsheet, and enter the value again"
# As a spreadsheet writes a long number into a CSV file, or as text. Ids such as 12E5 are no such number.
_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}")
_LOST = Refusal("a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost", AS_TEXT)


# As a program writes a whole number that it has kept as a float: 1001.0. Neither 1.000 nor 10.1.0 is one for sure.
_FLOAT = re.compile(r"[+-]?(?:(\d{4,})[.,]0+|(\d{1,3})[.,](?:0{1,2}|0{4,}))")


def unless_rewritten(text: str) -> Refusal | None:
    """Why a number or an id is not used that a program has written in another form than it had; None for all others.

    1001.0 and 1001 are one customer, and 4915112345678.0 without its dot is the number of another person."""
    if _SHORTENED.fullmatch(text):
        return _LOST
    found = _FLOAT.fullmatch(text)
    return written_as_float(found[1] or found[2]) if found else None


def written_as_float(digits: str) -> Refusal:
    """Why a number with a fraction of zeros is not used. `digits`: those before the fraction."""
    shown = digits if len(digits) <= _FEW_DIGITS else masked_phone(digits)
    return Refusal("a whole number that a program has written with .0", f"write the digits alone: {shown}")


_FEW_DIGITS = 6  # that name no person: no phone number is as short


_TOO_NARROW = Refusal("nothing but #: in the spreadsheet the column was too narrow for its values", AS_TEXT)


def sheet_error(text: str) -> Refusal:
    """Why a cell with an error of the spreadsheet is not used."""
    return Refusal(f"the spreadsheet's error {text if text in SHEET_ERRORS else ''}".rstrip(), "mend the formula")


def unless_lost_in_sheet(text: str) -> Refusal | None:
    """Why a cell is not used that has a spreadsheet's error, or the signs in place of a value; None for others."""
    if text in SHEET_ERRORS:
        return sheet_error(text)
    return _TOO_NARROW if len(text) > 1 and not text.strip("#") else None
