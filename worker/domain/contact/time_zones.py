"""The time zones that a customer may be in. Pure: tables of the phonenumbers and tzdata packages, read once.

Where the row names no zone there are several candidates, and a message must suit all of them: the question is not where
the customer most probably is, but where it may be.
"""

import zoneinfo
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

_NO_PLACES = ("Factory", "localtime")  # names of the database that ZoneInfo opens
_LONGEST_CALLING_CODE = 3
# Zones that agree on each of these days are on one clock, as far as it matters here: to spare reading a number.
_SAMPLES = tuple(datetime(year, month, 1, tzinfo=UTC) for year in (2026, 2027) for month in range(1, 13))


def candidate_zones(*, timezone: str, phone: str, country: str, default: str) -> tuple[str, ...]:
    """Names of the zones, sorted, at least one; each is one that ZoneInfo opens.

    The row's `timezone` decides. Without one, or with one that is not known (any more): `phone` (E.164) and `country`
    (alpha-2). Where the number is one of that country, both are true, and the one that leaves fewer candidates is
    taken; where it is not, the customer may be in either. Nothing of the three: `default`, or UTC if that is not known.
    """
    if is_known(timezone):
        return (timezone,)
    by_phone, by_country = _of_phone(phone), of_country(country)
    if by_phone and by_country:
        if _is_of(phone, country):
            return min(by_phone, by_country, key=len)
        return tuple(sorted({*by_phone, *by_country}))
    return by_phone or by_country or ((default,) if is_known(default) else ("UTC",))


def is_known(name: str) -> bool:
    """Whether this is the name of a time zone. Anything may be asked: no file is looked for by that name."""
    return name in _names()


def of_country(country: str) -> tuple[str, ...]:
    """All zones of a country (alpha-2), by zone.tab; none where nobody lives, or there is no such country."""
    return _by_country().get(country, ())


def _of_phone(phone: str) -> tuple[str, ...]:
    """The zones of a number in E.164; none where it does not say, as of satellites, or cannot be read."""
    if on_one_clock := _on_one_clock().get(_calling_code(phone)):
        return on_one_clock
    try:
        return _kept(time_zones_for_number(phonenumbers.parse(phone)))
    except phonenumbers.NumberParseException:
        return ()


def _is_of(phone: str, country: str) -> bool:
    """Whether the number, one that can be read, belongs to the country. Not if it is not written as E.164."""
    sharing = _regions().get(_calling_code(phone), ())
    if country not in sharing or len(sharing) == 1:
        return country in sharing
    return phonenumbers.is_valid_number_for_region(phonenumbers.parse(phone), country)


def _calling_code(digits: str) -> str:
    """The calling code that a number begins with; "" if with none. None is the beginning of another."""
    digits = digits.removeprefix("+")
    ends = range(1, _LONGEST_CALLING_CODE + 1)
    return next((digits[:end] for end in ends if digits[:end] in _regions()), "")


@cache
def _regions() -> dict[str, tuple[str, ...]]:
    """The countries that share each calling code."""
    return {str(code): regions for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()}


@lru_cache(maxsize=4096)
def _kept(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(filter(is_known, names)))  # "Etc/Unknown", where a number does not say, is no zone


@cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - frozenset(_NO_PLACES)


@cache
def _by_country() -> dict[str, tuple[str, ...]]:
    zones: dict[str, list[str]] = {}
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if line and not line.startswith("#"):
            country, _, name, *_ = line.split("\t")
            zones.setdefault(country, []).append(name)
    return {country: _kept(tuple(names)) for country, names in zones.items()}


@cache
def _on_one_clock() -> dict[str, tuple[str, ...]]:
    """The zones of the calling codes whose numbers need no reading, for wherever they are the clock is the same."""
    zones: dict[str, set[str]] = {}
    for prefix, names in TIMEZONE_DATA.items():
        zones.setdefault(_calling_code(prefix), set()).update(names)
    kept = {code: _kept(tuple(names)) for code, names in zones.items() if code}
    return {code: names for code, names in kept.items() if len({_clock(name) for name in names}) == 1}


def _clock(name: str) -> tuple[object, ...]:
    zone = zoneinfo.ZoneInfo(name)
    return tuple(moment.astimezone(zone).utcoffset() for moment in _SAMPLES)
