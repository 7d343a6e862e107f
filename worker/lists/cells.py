"""A cell as the text that a CSV file would hold: JSON, Parquet and Python have values of other types. Refused are
values that are no one text, and those that a spreadsheet has lost. Pure."""

from datetime import date, datetime
from typing import Any

from worker.providers.refusals import AS_TEXT, Refusal
from worker.templates.names import SHEET_ERRORS

EXACT = 1 << 53  # beyond it, a float has no digits for ones
_FRACTION = Refusal("a number with a fraction", "give text, or a whole number")
_ROUNDED = Refusal("a number with a fraction's type and too many digits to be exact", "give text, or a whole number")


def as_text(cell: Any, column: str) -> str | Refusal:
    """The cell as text, unless a spreadsheet has lost it: two customers whose id is #N/A would be one.

    Only the consent is a truth value, and only tags are a list: all customers would else be one, `true`, after a fault
    of the program that writes the list."""
    match cell:
        case str():
            text = cell.strip()
            return unless_lost_in_sheet(text) or text
        case Refusal():  # the reader's, for a cell whose value is lost
            return cell
        case bool() if column == "consent":
            return "true" if cell else "false"
        case bool():
            return Refusal("true or false", "give text")
        case int():
            return str(cell)
        case float():
            return whole(cell)
        case datetime():
            return cell.date().isoformat()
        case date():
            return cell.isoformat()
        case list() | tuple() if column != "tags":
            return Refusal("a list", "give text")
        case list() | tuple() if all(isinstance(part, str) for part in cell):
            return ";".join(cell)
        case list() | tuple():
            return Refusal("a list that holds more than text", "give text")
        case _:
            return Refusal("an object", "give text")


def whole(value: float, *, exact: int = EXACT) -> str | Refusal:
    """The digits of a whole number. `exact`: from where on floats of its kind have no digits for ones."""
    if not value.is_integer():
        return _FRACTION
    return str(int(value)) if abs(value) < exact else _ROUNDED


_TOO_NARROW = Refusal("nothing but #: in the spreadsheet the column was too narrow for its values", AS_TEXT)


def sheet_error(text: str) -> Refusal:
    """Why a cell with an error of the spreadsheet is not used."""
    return Refusal(f"the spreadsheet's error {text if text in SHEET_ERRORS else ''}".rstrip(), "mend the formula")


def unless_lost_in_sheet(text: str) -> Refusal | None:
    """Why a cell is not used that has a spreadsheet's error, or the signs in place of a value; None for others."""
    if text in SHEET_ERRORS:
        return sheet_error(text)
    return _TOO_NARROW if len(text) > 1 and not text.strip("#") else None
