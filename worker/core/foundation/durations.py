"""Durations as text: "7 days", "90 s"."""

import re
from datetime import timedelta
from typing import Any

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "sec": timedelta(seconds=1),
    "second": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "minute": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "hour": timedelta(hours=1),
    "d": timedelta(days=1),
    "day": timedelta(days=1),
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
    unit = match and (UNITS.get(match[2]) or UNITS.get(match[2].removesuffix("s")))
    if not match or not unit:
        raise ValueError(EXPECTED)
    try:
        return unit * float(match[1])
    except OverflowError:
        raise ValueError(EXPECTED) from None


def show_duration(span: timedelta) -> str:
    for name, unit in SHOWN:
        if span >= unit and not span % unit:
            count = span // unit
            return f"{count} {name}{'s' if count != 1 and name != 's' else ''}"
    return f"{span / UNITS['s']:g} s"
