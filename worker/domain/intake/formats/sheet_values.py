"""What a spreadsheet's numbers and dates mean as text. Nothing is guessed: what was lost is refused."""

import re
from datetime import date, timedelta

from worker.domain.intake.lines import AS_TEXT, Refusal

MOST_DIGITS = 15  # a spreadsheet keeps no more
_LONGEST_NUMBER = 40  # characters
_NUMBER = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]{1,3}))?")
_LAST_DAY = (date(9999, 12, 31) - date(1899, 12, 30)).days

TOO_LONG = Refusal("a cell has more than 32,767 characters", "shorten it")
LONGEST_TEXT = 32_767  # characters: a spreadsheet allows no more
NO_VALUE = Refusal("a formula without a value", "open the file in a spreadsheet and save it, or write the value itself")
_NOT_A_NUMBER = Refusal("a number that cannot be read", AS_TEXT)
_FRACTION = Refusal("a number with a fraction", AS_TEXT)
_ROUNDED = Refusal(f"a number of more than {MOST_DIGITS} digits, of which a spreadsheet keeps {MOST_DIGITS}", AS_TEXT)
TIME = Refusal("a date with a time of day", "format the column as a date, and enter the day alone")
_NO_DAY = Refusal("a number that is no day, in a cell that is formatted as a date", "write dates as 1990-12-31 in text")


def number(written: str, zeros: int = 0) -> str | Refusal:
    """A number as its digits, such as 447911123456 of 4.47911123456E11.

    `zeros`: the digits that the cell's format fills up with zeros, such as 5 for 00042.
    """
    if written.isdigit() and written.isascii() and len(written) <= MOST_DIGITS:
        return written.zfill(zeros) if zeros else written
    found = _NUMBER.fullmatch(written) if len(written) <= _LONGEST_NUMBER else None
    if found is None or not (found[2] or found[3]):
        return _NOT_A_NUMBER
    sign, whole, fraction, exponent = found[1], found[2], found[3], int(found[4] or 0)
    point = len(whole) + exponent
    digits = whole + fraction
    if not digits.strip("0"):
        return "0".zfill(zeros)
    kept = digits.rstrip("0")
    if len(kept) > point:
        return _FRACTION
    if point - (len(digits) - len(digits.lstrip("0"))) > MOST_DIGITS:
        return _ROUNDED
    text = kept.ljust(point, "0").lstrip("0").zfill(zeros)
    return f"-{text}" if sign == "-" else text


def day(written: str, *, from_1904: bool = False) -> str | Refusal:
    """The date that a number means in a cell formatted as one: days since the end of 1899, or the start of 1904."""
    whole, _, fraction = written.partition(".")
    if not (whole.isdigit() and whole.isascii() and len(whole) < 8) or (fraction and not fraction.isdigit()):
        return _NO_DAY
    if fraction.strip("0"):
        return TIME
    days = int(whole)
    if from_1904:
        days += 1462
    elif days < 60:
        days += 1  # Excel's 1900 has a 29 February, day 60, which does not exist
    elif days == 60:
        return _NO_DAY
    if not 2 <= days <= _LAST_DAY:
        return _NO_DAY
    return (date(1899, 12, 30) + timedelta(days=days)).isoformat()


def iso_day(written: str) -> str | Refusal:
    """The date of a cell that holds it as ISO 8601."""
    text, _, time = written.partition("T")
    if time.strip("0:.Z"):
        return TIME
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return _NO_DAY


_QUOTED = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_BUILT_IN_DAYS = frozenset({*range(14, 18), 22, *range(27, 37), *range(50, 59)})
_BUILT_IN_TIMES = frozenset({*range(18, 22), *range(45, 48)})


def means_day(number_format: int, code: str | None) -> bool:
    """Whether a number format shows a date, or a time."""
    if code is None:
        return number_format in _BUILT_IN_DAYS | _BUILT_IN_TIMES
    plain = _QUOTED.sub("", code[:255].lower().partition(";")[0])
    return plain != "general" and re.search("[dmyhs]", plain) is not None


def zeros_of(code: str | None) -> int:
    """How many digits a number format fills up with zeros: 5 for 00000."""
    return len(code) if code and len(code) <= MOST_DIGITS and set(code) == {"0"} else 0
