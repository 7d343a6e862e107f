"""What a spreadsheet's cells mean as text. Nothing is guessed: what was lost is refused."""

import re
from datetime import date, datetime

from onboarding_worker.providers.values import AS_TEXT, Refusal

MOST_DIGITS = 15  # a spreadsheet keeps no more
LONGEST_TEXT = 32_767  # characters: a spreadsheet allows no more

TOO_LONG = Refusal("a cell has more than 32,767 characters", "shorten it")
NO_VALUE = Refusal("a formula without a value", "open the file in a spreadsheet and save it, or write the value itself")
TIME = Refusal("a date with a time of day", "format the column as a date, and enter the day alone")
_FRACTION = Refusal("a number with a fraction", AS_TEXT)
_ROUNDED = Refusal(f"a number of more than {MOST_DIGITS} digits, of which a spreadsheet keeps {MOST_DIGITS}", AS_TEXT)
_SHOWN_OTHERWISE = Refusal("a number that its format shows with further digits or signs", AS_TEXT)
_NO_DAY = Refusal("a number that is no day, in a cell that is formatted as a date", "write dates as 1990-12-31 in text")
# Excel writes the control characters of a text so. A text that only looks so is one in millions.
_CONTROL = re.compile(r"_x(00[01][0-9A-Fa-f])_")
_QUOTED = re.compile(r'"[^"]*"|\\.|_.|\*.')
_BRACKETED = re.compile(r"\[[^\]]*\]")  # a color, a language


def text(value: str) -> str | Refusal:
    """A text, with its control characters."""
    if len(value) > LONGEST_TEXT:
        return TOO_LONG
    return _CONTROL.sub(lambda found: chr(int(found[1], 16)), value) if "_x00" in value else value


def number(value: float, zeros: int | Refusal = 0) -> str | Refusal:
    """A number as its digits, such as 447911123456 of 4.47911123456E11. `zeros`: of `zeros_of`, for the cell's
    format."""
    if isinstance(zeros, Refusal):
        return zeros
    if isinstance(value, float):
        if not value.is_integer():
            return _FRACTION
        value = int(value)
    if abs(value) >= 10**MOST_DIGITS:
        return _ROUNDED
    digits = str(abs(value)).zfill(zeros)
    return f"-{digits}" if value < 0 else digits


def day(value: date) -> str | Refusal:
    """The date of a cell that is formatted as one."""
    if isinstance(value, datetime):
        if value.time() != datetime.min.time():
            return TIME
        value = value.date()
    return value.isoformat() if value.year >= 1900 else _NO_DAY


def zeros_of(number_format: str) -> int | Refusal:
    """How many digits a number format fills up with zeros: 5 for 00000. Refused: 00-000, which shows more than them."""
    section = _BRACKETED.sub("", number_format.partition(";")[0])
    zeros = re.split("[.eE]", _QUOTED.sub("", section))[0].count("0")
    if zeros < 2:
        return 0
    return zeros if section == "0" * zeros and zeros <= MOST_DIGITS else _SHOWN_OTHERWISE
