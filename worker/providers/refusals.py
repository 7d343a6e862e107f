"""Why a value is refused, in words; also one that a program has written in another form than it had."""

import re
from typing import NamedTuple

from worker.core.customers.customers import FieldProblem
from worker.providers.masked import masked_phone


class Refusal(NamedTuple):
    """Why a rule refuses a cell, and what to do. The text describes the value and never repeats it."""

    problem: str
    hint: str = ""

    def at(self, column: str) -> FieldProblem:
        return FieldProblem(column, self.problem, self.hint, unread=True)


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
