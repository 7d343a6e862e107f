"""How numbers, durations and times are written for people and scripts, and read; and a stranger's text made harmless
where people read it: on one line, and in a cell of a spreadsheet. Pure.

A time has one form that is printed: ISO 8601, UTC, whole seconds, `Z`. Others' times are read in any form of ISO 8601.
"""

import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def written(at: datetime) -> str:
    """`2026-11-20T12:00:00Z`; `at` is aware."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def written_if_any(at: datetime | None) -> str | None:
    """Like `written`; None for None."""
    return None if at is None else written(at)


def utc_time(value: object) -> datetime | None:
    """An ISO 8601 time as aware UTC; a time without an offset is read as UTC. None if it is not readable.

    A date alone is not a time, and a number is never read as a time.
    """
    if not isinstance(value, str) or not _TIME.match(value := value.strip()):
        return None
    try:
        return as_utc(datetime.fromisoformat(value))  # a fraction's digits after the sixth are dropped
    except (ValueError, OverflowError):
        return None


def as_utc(at: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is UTC. Raises OverflowError."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


UNITS = {
    "ms": timedelta(milliseconds=1),
    **dict.fromkeys(("s", "sec", "second"), timedelta(seconds=1)),
    **dict.fromkeys(("min", "minute"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day"), timedelta(days=1)),
    "week": timedelta(weeks=1),
}
# Long ones first: a duration is shown in the largest unit that divides it.
SHOWN = (("day", UNITS["day"]), ("hour", UNITS["hour"]), ("minute", UNITS["minute"]), ("s", UNITS["s"]))
EXPECTED = 'expected a duration such as "7 days", "12 hours", "10 minutes" or "90 s"'


def parse_duration(given: Any) -> timedelta:
    """The duration in a text such as "7 days". Raises ValueError with the expected form, without the given text."""
    if isinstance(given, timedelta):
        return given
    match = (
        re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+)\s*", given, re.ASCII) if isinstance(given, str) else None
    )
    if match and (unit := UNITS.get(match[2]) or UNITS.get(match[2].removesuffix("s"))):
        with suppress(OverflowError):
            return unit * float(match[1])
    raise ValueError(EXPECTED)


def show_duration(span: timedelta) -> str:
    for name, unit in SHOWN:
        if span >= unit and not span % unit:
            count = span // unit
            return f"{count} {name}{'s' if count != 1 and name != 's' else ''}"
    return f"{span / UNITS['s']:g} s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 row`, `2 rows`, `1,000 rows`. `plural`: where it is not the noun with an s."""
    return f"1 {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def are(number: int) -> str:
    """`is` after one, `are` after any other number."""
    return "is" if number == 1 else "are"


def listed_in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def plain(text: str, *, most: int) -> str:
    """`text` on one line, without control, bidi, zero-width and other invisible characters, cut to `most`."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _visible(char: str) -> str:
    match unicodedata.category(char):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return char


def printable(text: str, most: int) -> str:
    """The text in one line, as a log of text lines can hold it: what cannot be shown becomes `?`."""
    return (text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text))[:most]


# A cell that starts with one of these is a formula. Excel treats the wide ones, which an East Asian keyboard types,
# like the narrow ones; the others become narrow where a program normalises text (NFKC).
STARTS = "=+-@" + "＝＋－＠" + "﹦﹢﹣﹫" + "⁼₌⁺₊⩵⩶﬩"
# What separates cells depends on the country and the program that opens the file, not on the file. So a cell may begin
# behind each of these, even in quotes, which count only at a cell's beginning.
SEPARATORS = ",;|\t\r\n"
# White space, invisible characters and quotes between the beginning and the sign: programs drop some of them.
_FORMULA = re.compile(rf"(\A|[{SEPARATORS}])(?=[^\w'{SEPARATORS}]*[{re.escape(STARTS)}])|\A(?=[\t\r\n])")


def spreadsheet_safe(text: str) -> str:
    """The text, with an apostrophe before each part of it that a spreadsheet would run as a formula."""
    return _FORMULA.sub(r"\1'", text)


_GUARD = re.compile(rf"(\A|[{SEPARATORS}])'(?=[^\w'{SEPARATORS}]*[{re.escape(STARTS)}])|\A'(?=[\t\r\n])")


def unguarded(text: str) -> str:
    """The text that `spreadsheet_safe` made this of."""
    return _GUARD.sub(r"\1", text)
