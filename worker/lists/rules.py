"""What each plain column may hold, and the form in which it is stored. A rule returns the value or a Refusal. Also the
forms that dates are written in, and which of them the dates of a list have: no form is ever guessed.
"""

import re
import unicodedata
import zoneinfo
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from typing import Any, Self

from worker.core.customers.customers import Channel, CustomerKind
from worker.lists import country_names
from worker.lists.cells import unless_lost_in_sheet
from worker.lists.email_addresses import email
from worker.providers import countries
from worker.providers.refusals import Refusal, characters, unless_rewritten
from worker.templates.names import is_spoiled

ISO = "YYYY-MM-DD"
LONGEST_LIFE = 130  # years
_PARTS = {"DD": "(?P<day>[0-9]{1,2})", "MM": "(?P<month>[0-9]{1,2})", "YYYY": "(?P<year>[0-9]{4})"}
_FORM = re.compile(r"(DD|MM|YYYY)([./ -]?)(DD|MM|YYYY)(\2)(DD|MM|YYYY)")
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

    Only to see whether the value can be one that is known: no day is ever taken from it.
    """
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
        fitting = [form.text for form in _KNOWN if self._is_birth(form.read(value.strip()))]
        if fitting:
            self._dates += 1
            self._fitting.update(fitting)

    def _is_birth(self, day: date | None) -> bool:
        return day is not None and self._today.year - LONGEST_LIFE <= day.year and day <= self._today

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


Rule = Callable[[str], Any]

LONGEST_NAME = 100
LONGEST_ADDRESS = 500
MOST_MARKS = 6  # on one letter: Hebrew with all its points, and stacks of Tibetan, have five
MOST_DECOMPOSED = 4  # the most characters that become one letter of a living language (NFC)
MOST_TAGS = 5
LONGEST_TAG = 32

_INVISIBLE = "it contains an invisible character"
# They reorder the text around them, so that a mail would show other text than the list has.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "x": "X", "d": "X", "diverse": "X", "other": "X"}
_YES = frozenset({"true", "1", "yes", "y"})
_NO = frozenset({"false", "0", "no", "n"})


def text(value: str, longest: int = LONGEST_NAME) -> str | Refusal:
    """Text for people: NFC, one line, at most `longest` characters, no invisible characters, and none with many marks:
    they are drawn over the lines above and below."""
    if not (value.isascii() and value.isprintable()):
        if len(value) > MOST_DECOMPOSED * longest:  # normalising costs more than its length
            return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
        value = unicodedata.normalize("NFC", value).replace("\xa0", " ")
        breaks = len(value.splitlines()) - 1
        if breaks > 0:
            return Refusal(f"it has {breaks + 1:,} lines", "write it on one line; or a quote before it is not closed")
        if not value.isprintable() and any(_unfit(character) for character in value):
            return Refusal(_INVISIBLE, "type it again without control characters and text-direction marks")
        if _has_many_marks(value):
            return Refusal(f"it has a letter with more than {MOST_MARKS} marks", "type it again without them")
    if len(value) > longest:
        return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
    return value


def _unfit(character: str) -> bool:
    # Unassigned characters may be letters of a newer Unicode, and several scripts need joiners: both may stay.
    if character in _BIDI or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
        return True
    return unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp")


def _has_many_marks(value: str) -> bool:
    marks = 0
    for category in map(unicodedata.category, value):
        if category in ("Mn", "Me"):
            marks += 1
            if marks > MOST_MARKS:
                return True
        elif category != "Cf":  # a joiner has no shape: the marks behind it are on the same letter
            marks = 0
    return False


def address(value: str) -> str | Refusal:
    """An address; the lines of a cell are joined with commas."""
    lines = [line.strip(" ,") for line in value.splitlines()] if not value.isprintable() else [value]
    return text(", ".join(line for line in lines if line), LONGEST_ADDRESS)


def ascii_text(longest: int) -> Rule:
    """A rule for ids of other systems: printable ASCII of at most `longest` characters."""

    def rule(value: str) -> str | Refusal:
        if rewritten := unless_rewritten(value):
            return rewritten
        if not (value.isascii() and value.isprintable()):
            return Refusal(
                "characters that are not printable ASCII", "use letters without accents, digits and punctuation"
            )
        if len(value) > longest:
            return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
        return value

    return rule


def no_name(text: str) -> Refusal:
    """Why a name that is none is not used."""
    if is_spoiled(text):
        return Refusal("letters that a wrong encoding has spoiled", "write the name again, and save it as UTF-8")
    return Refusal("a word or a sign that stands for no name", "give the name, or leave the cell empty")


def date_of_birth(value: str, today: date, form: DateForm | None) -> date | Refusal:
    """A date that exists, not after `today` and not more than LONGEST_LIFE years before it.

    It is written YYYY-MM-DD, or in the list's `form`.
    """
    if form is not None and form.fits(value):
        day = form.read(value)
    elif _DATE.fullmatch(value):
        day = _iso_day(value)
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


def _iso_day(value: str) -> date | None:
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def country(value: str) -> str | Refusal:
    if code := countries.alpha2(value):
        return code
    if meant := countries.usual_mistake(value):
        return Refusal("not an ISO 3166 code", f"use {meant}")
    return country_names.code_of(value) or Refusal(
        f"{characters(value)} that are not a country", "use an ISO 3166 code, such as DE, or its name"
    )


@lru_cache(maxsize=1024)
def locale(value: str) -> str | Refusal:
    found = _LOCALE.fullmatch(value)
    if not found:
        return Refusal(f"{characters(value)} that are not a locale", "use a language code such as de, or pt-BR")
    language, script, region = found.groups()
    return "-".join(filter(None, (language.lower(), (script or "").title(), (region or "").upper())))


@cache
def _timezones() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones() if name not in ("Factory", "localtime")}


@lru_cache(maxsize=1024)
def timezone(value: str) -> str | Refusal:
    name = _timezones().get(value.lower().replace(" ", "_"))
    return name or Refusal(f"{characters(value)} that are not a time zone", "use an IANA name such as Europe/Vilnius")


@lru_cache(maxsize=1024)
def kind(value: str) -> CustomerKind | Refusal:
    try:
        return CustomerKind(value.lower())
    except ValueError:
        return Refusal("neither individual nor company", "use individual or company, or leave it empty for individual")


@lru_cache(maxsize=1024)
def channel(value: str) -> Channel | Refusal:
    try:
        return Channel(value.lower())
    except ValueError:
        return Refusal(
            f"none of {', '.join(Channel)}", "use one of these, or leave it empty to use the address that the row has"
        )


def consent(value: str) -> bool | Refusal:
    word = value.lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    return Refusal("neither true nor false", "use true or false; leave it empty if you do not know")


def sex(value: str) -> str | Refusal:
    return _SEXES.get(value.lower()) or Refusal("none of M, F and X", "use M, F or X, or leave it empty")


def purpose(value: str) -> str | Refusal:
    slug = value.lower()
    if _SLUG.fullmatch(slug):
        return slug
    return Refusal("not a short name", "use at most 64 of a-z, 0-9, _ and -, such as onboarding")


def name(value: str) -> str | Refusal:
    """The name of something in the configuration or on disk."""
    if _NAME.fullmatch(value):
        return value
    return Refusal("not a short name", "use at most 64 letters, digits, dots, _ and -")


@lru_cache(maxsize=1024)
def tags(value: str) -> tuple[str, ...] | Refusal:
    found = tuple(dict.fromkeys(tag for part in value.split(";") if (tag := part.strip())))
    if len(found) > MOST_TAGS:
        return Refusal(f"{len(found)} tags, more than {MOST_TAGS}", f"keep at most {MOST_TAGS}")
    for tag in found:
        if len(tag) > LONGEST_TAG:
            return Refusal(f"a tag of {characters(tag)}, more than {LONGEST_TAG}", f"shorten it to {LONGEST_TAG}")
        if "," in tag:
            return Refusal("a comma in a tag", "separate tags with ;")
        checked = unless_lost_in_sheet(tag) or text(tag, LONGEST_TAG)
        if isinstance(checked, Refusal):
            return checked
    return tuple(unicodedata.normalize("NFC", tag) for tag in found)


# What they hold is not needed: a bad value is left out, with a warning.
LEFT_OUT = frozenset({"locale", "timezone"})
# They hold words of a few: another system's may be mapped to ours, `[import.values]`.
WORDED = (
    "kind",
    "purpose",
    "sex",
    "nationality",
    "consent",
    "country",
    "locale",
    "timezone",
    "channel",
    "account",
    "template",
    "brand",
)
# The columns that need more than their own cell.
READ_LAST = ("customer_id", "phone", "date_of_birth")
# The columns that are checked alone.
RULES: dict[str, Rule] = {
    "kind": kind,
    "purpose": purpose,
    "email": email,
    "first_name": text,
    "last_name": text,
    "company_name": text,
    "sex": sex,
    "nationality": country,
    "address": address,
    "consent": consent,
    "country": country,
    "locale": locale,
    "timezone": timezone,
    "channel": channel,
    "account": name,
    "entity_id": ascii_text(100),
    "external_ref": ascii_text(40),
    "tags": tags,
    "template": name,
    "brand": name,
}
COLUMNS = (*READ_LAST, *RULES)
