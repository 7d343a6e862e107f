"""What a cell says, in lists of each format, events and returned reports: one reader for all columns. A cell becomes
the text that a CSV file would hold, without what a program has added around it, and counts as empty if it stands for
nothing. Refused are values that are no one text, and those that a spreadsheet has lost. Pure.
"""

import re
import unicodedata
from datetime import date, datetime
from typing import Any

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.providers.values import AS_TEXT, Refusal
from onboarding_worker.templates.no_values import LONGEST, LOOKUPS, SHEET_ERRORS, is_no_value
from onboarding_worker.templates.values import NAMES

EXACT = 1 << 53  # beyond it, a float has no digits for ones
_FRACTION = Refusal("a number with a fraction", "give text, or a whole number")
_ROUNDED = Refusal("a number with a fraction's type and too many digits to be exact", "give text, or a whole number")
_TOO_NARROW = Refusal("nothing but #: in the spreadsheet the column was too narrow for its values", AS_TEXT)

# The exceptions, as list-format.md has them: a word that a column means; where each is kept, as in columns with a dot.
MEANT = {"country": "na", "nationality": "na", "channel": "none"}
KEPT = frozenset({"tags", "external_ref"})
# What its own rule refuses, and what decides beside another name.
_BY_RULE = frozenset({"customer_id", *NAMES})
# Where the empty cell is another row: another route, or another price.
DECIDING = frozenset({"entity_id", "kind", "purpose", "account"})
_COUNTS = " counts as empty"
_EMPTY = "give the value, or leave it empty"
_DECIDES = "give the value, or leave it empty: it decides the route and the price"
# People's own texts: at their ends are joiners, and marks of direction.
_TEXTS = frozenset({*NAMES, "address", "tags"})
_IDS = frozenset({"customer_id", "entity_id", "external_ref"})
_INVISIBLE = (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_AT_ENDS = "".join(map(chr, _INVISIBLE)) + "".join(filter(str.isspace, map(chr, range(0x3001))))
_WIDE = str.maketrans("０１２３４５６７８９＋－（）．", "0123456789+-().")
# An apostrophe before a number, and ="…", keep a spreadsheet from changing it.
_KEPT_AS_TEXT = re.compile(r"""=\s*"([^"]*)"\Z|['’](?=\+?\d)""")


def text_of(cell: Any, column: str) -> str | Refusal:
    """The cell as text, without what a program has added, unless a spreadsheet has lost it.

    Only the consent is a truth value, and only tags are a list: all customers would else be one, `true`, after a fault
    of the program that writes the list."""
    match cell:
        case str():
            text = cell.strip()
            if column in _IDS:
                text = bare(text)
            elif not text.isascii() and column not in _TEXTS and "." not in column:
                text = text.strip(_AT_ENDS)
            return (unless_lost_in_sheet(text) if text[:1] == "#" else None) or text
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


def as_text(cell: Any, column: str) -> str | Refusal:
    """As `text_of`; "" for what stands for nothing in this column."""
    text = text_of(cell, column)
    return "" if isinstance(text, str) and means_nothing(text, column) else text


def means_nothing(text: str, column: str) -> bool:
    """Whether a text of `text_of` stands for nothing in this column."""
    if not text or column in _BY_RULE:
        return not text
    if column in KEPT or "." in column:
        return text.lower() in LOOKUPS or not text.strip(_AT_ENDS)
    if column == "date_of_birth" and not text.strip("0.-/ "):  # as some programs write no date
        return True
    return is_no_value(text) and text.lower() != MEANT.get(column)


def counts_as_empty(column: str, cell: Any) -> tuple[FieldProblem, ...]:
    """The warning of a cell that stands for nothing; none of one that is blank."""
    if not isinstance(cell, str) or not (text := cell.strip()):
        return ()
    text = text if len(text) <= LONGEST and text.isprintable() else "signs"
    return (FieldProblem(column, f'"{text}"{_COUNTS}', _DECIDES if column in DECIDING else _EMPTY),)


def empty_word(problem: FieldProblem) -> str:
    """What a cell says that `counts_as_empty` warns of, in quotes; "" for another problem."""
    return problem.problem.removesuffix(_COUNTS) if problem.problem.endswith(_COUNTS) else ""


def bare(text: str, scheme: str = "") -> str:
    """A number, an address or an id without what a program has added around it. `scheme`: of a link that it may be."""
    if not text.isascii():
        text = text.strip(_AT_ENDS).translate(_WIDE)
    if found := _KEPT_AS_TEXT.match(text):
        text = (found[1] or text[found.end() :]).strip()
    if scheme and text[: len(scheme)].lower() == scheme:
        text = text[len(scheme) :].strip()
    return text


def invisible_in(text: str) -> str | None:
    """The name of the first invisible character: `U+200B ZERO WIDTH SPACE`."""
    unseen = (one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    return next((f"U+{ord(one):04X} {unicodedata.name(one, '')}".rstrip() for one in unseen), None)


def whole(value: float, *, exact: int = EXACT) -> str | Refusal:
    """The digits of a whole number. `exact`: from where on floats of its kind have no digits for ones."""
    if not value.is_integer():
        return _FRACTION
    return str(int(value)) if abs(value) < exact else _ROUNDED


def sheet_error(text: str) -> str | Refusal:
    """Why a cell with an error of the spreadsheet is not used; the error, if it says that there is nothing."""
    if text.lower() in LOOKUPS:
        return text
    return Refusal(f"the spreadsheet's error {text if text in SHEET_ERRORS else ''}".rstrip(), "mend the formula")


def unless_lost_in_sheet(text: str) -> Refusal | None:
    """Why a cell is not used that has a spreadsheet's error, or the signs in place of a value; None for others."""
    if text in SHEET_ERRORS:
        return Refusal(f"the spreadsheet's error {text}", "mend the formula")
    return _TOO_NARROW if len(text) > 1 and not text.strip("#") else None
