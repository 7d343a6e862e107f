"""The forms that dates are written in, and which of them the dates of a list have: no form is ever guessed. Pure."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Self

from onboarding_worker.providers.values import Refusal, characters

ISO = "YYYY-MM-DD"
LONGEST_LIFE = 130  # years
_PARTS = {"DD": "(?P<day>[0-9]{1,2})", "MM": "(?P<month>[0-9]{1,2})", "YYYY": "(?P<year>[0-9]{4})"}
_FORM = re.compile(r"(DD|MM|YYYY)([./ -]?)(DD|MM|YYYY)(\2)(DD|MM|YYYY)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EXPECTED = "expected DD, MM and YYYY with . / - or a space between them, such as DD.MM.YYYY or MM/DD/YYYY"


@dataclass(frozen=True)
class DateForm:
    """A form such as DD.MM.YYYY. Between separators a day or month may have one digit."""

    text: str
    _pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with what is expected."""
        parts = _FORM.fullmatch(text.strip().upper())
        if parts is None or len({parts[1], parts[3], parts[5]}) < len(_PARTS):
            raise ValueError(EXPECTED)
        if parts[0] == "YYYY-DD-MM":  # YYYY-MM-DD is always read
            raise ValueError(f"dates in this form look like {ISO}: write them in that form")
        pattern = re.escape(parts[2]).join(_PARTS[parts[place]] for place in (1, 3, 5))
        return cls(parts[0], re.compile(pattern if parts[2] else pattern.replace("{1,2}", "{2}")))

    def read(self, value: str) -> date | None:
        """The date; None for a value that is not of this form, or is a day that does not exist."""
        found = self._pattern.fullmatch(value)
        try:
            return date(int(found["year"]), int(found["month"]), int(found["day"])) if found else None
        except ValueError:
            return None

    def fits(self, value: str) -> bool:
        """True for a value of this form, whether its day exists or not."""
        return self._pattern.fullmatch(value) is not None


_ORDERS = (("DD", "MM", "YYYY"), ("MM", "DD", "YYYY"), ("YYYY", "MM", "DD"))
_KNOWN = tuple(DateForm.parse(separator.join(order)) for separator in ("/", ".", "-", " ", "") for order in _ORDERS)
_SHORT_YEAR = re.compile(r"([0-9]{1,2})([./ -])([0-9]{1,2})\2([0-9]{2})")


def readings(value: str) -> set[date]:
    """Every day that the value may be in a form that a spreadsheet writes, with two digits of a year in each century.
    Only to see whether the value can be one that is known: no day is ever taken from it."""
    short = _SHORT_YEAR.fullmatch(value)
    texts = [value] if short is None else [f"{short[1]}{short[2]}{short[3]}{short[2]}{c}{short[4]}" for c in (19, 20)]
    return {day for text in texts for form in _KNOWN if (day := form.read(text)) is not None}


class DatesSeen:
    """Collects the dates that were refused for their form, to say which form they are in."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._fitting: Counter[str] = Counter()
        self._dates = 0

    def add(self, value: object) -> None:
        if not isinstance(value, str):
            return
        first = self._today.year - LONGEST_LIFE
        days = ((form.text, form.read(value.strip())) for form in _KNOWN)
        fitting = [form for form, day in days if day is not None and first <= day.year and day <= self._today]
        if fitting:
            self._dates += 1
            self._fitting.update(fitting)

    def hint(self) -> tuple[str, str] | None:
        """What the dates look like, and what to do; None if no refused value is a date in another form."""
        if not self._dates:
            return None
        number = "1 date is" if self._dates == 1 else f"{self._dates:,} dates are"
        forms = [form for form, fitting in self._fitting.items() if fitting == self._dates]
        if not forms:
            return f"{number} in several forms", f"write all dates as {ISO}"
        if len(forms) == 1:
            return f"{number} in the form {forms[0]}", f"read with --dates {forms[0]}"
        either = " or ".join(sorted(forms))
        return f"{number} in the form {either}: the values fit both", f"say which, such as --dates {sorted(forms)[0]}"


def date_of_birth(value: str, today: date, form: DateForm | None) -> date | Refusal:
    """A date that exists, not after `today` and not more than LONGEST_LIFE years before it. It is written YYYY-MM-DD,
    or in the list's `form`."""
    if form is not None and form.fits(value):
        day = form.read(value)
    elif _DATE.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
    else:
        return Refusal(
            f"{characters(value)} that are not {f'{form.text} or ' if form else ''}{ISO}",
            "write dates as 1990-12-31; in a spreadsheet, format the column as text first",
        )
    if day is None:
        return Refusal("a date that does not exist", "check the month and the day")
    if day > today:
        return Refusal("a date in the future", "check the year")
    if day.year < today.year - LONGEST_LIFE:
        return Refusal(f"a date more than {LONGEST_LIFE} years ago", "check the year")
    return day
