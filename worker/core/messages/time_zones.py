"""The time zones that a customer may be in. Pure: tables of the phonenumbers and tzdata packages, read once.

Without a zone in the row there are several candidates, and a message must suit all of them: the zones where the
customer may be, not where the customer most probably is.
"""

import zoneinfo
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

_NO_PLACES = ("Factory", "localtime")  # names in the database that are not zones, although ZoneInfo opens them
_LONGEST_CALLING_CODE = 3
# Zones that have the same offset on each of these days count as one clock: then the number need not be parsed.
_SAMPLES = tuple(datetime(year, month, 1, tzinfo=UTC) for year in (2026, 2027) for month in range(1, 13))


def candidate_zones(*, timezone: str, phone: str, country: str, default: str) -> tuple[str, ...]:
    """Names of the zones, sorted, at least one; ZoneInfo can open each.

    The row's `timezone` decides. If it is missing or unknown, `phone` (E.164) and `country` (alpha-2) decide: for a
    number of that country, whichever gives fewer candidates; for a number of another country, both together, because
    the customer may be in either. Without any of the three: `default`, or UTC if `default` is unknown.
    """
    if is_known(timezone):
        return (timezone,)
    by_phone, by_country = _of_phone(phone), of_country(country)
    if by_phone and by_country:
        if _is_of(phone, country):
            return min(by_phone, by_country, key=len)
        return tuple(sorted({*by_phone, *by_country}))
    return by_phone or by_country or ((default,) if is_known(default) else ("UTC",))


@lru_cache(maxsize=4096)
def shared_clock(zones: tuple[str, ...]) -> str | None:
    """The first of the zones if all of them have the same clock, such as Germany's two; else None."""
    return zones[0] if zones and len({_clock(name) for name in zones}) == 1 else None


def is_known(name: str) -> bool:
    """True for the name of a time zone. Safe for any text: the name is never used as a file name."""
    return name in _names()


def of_country(country: str) -> tuple[str, ...]:
    """All zones of a country (alpha-2), by zone.tab; none for an uninhabited or unknown country."""
    return _by_country().get(country, ())


def _of_phone(phone: str) -> tuple[str, ...]:
    """The zones of a number in E.164; none for an invalid number or one without a place, such as a satellite phone."""
    if not phone:
        return ()
    if on_one_clock := _on_one_clock().get(_calling_code(phone)):
        return on_one_clock
    try:
        return _kept(time_zones_for_number(phonenumbers.parse(phone)))
    except phonenumbers.NumberParseException:
        return ()


def _is_of(phone: str, country: str) -> bool:
    """True if the valid number belongs to the country. False if the number is not written as E.164."""
    sharing = _regions().get(_calling_code(phone), ())
    if country not in sharing or len(sharing) == 1:
        return country in sharing
    return phonenumbers.is_valid_number_for_region(phonenumbers.parse(phone), country)


def _calling_code(digits: str) -> str:
    """The calling code at the start of a number; "" if there is none. No calling code is the start of another one."""
    digits = digits.removeprefix("+")
    ends = range(1, _LONGEST_CALLING_CODE + 1)
    return next((digits[:end] for end in ends if digits[:end] in _regions()), "")


@cache
def _regions() -> dict[str, tuple[str, ...]]:
    """The countries that share each calling code."""
    return {str(code): regions for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()}


@lru_cache(maxsize=4096)
def _kept(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(filter(is_known, names)))  # leaves out "Etc/Unknown", the value for a number without a place


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
    zones["XK"] = ["Europe/Belgrade"]  # Kosovo's clock; zone.tab lists the countries of ISO 3166-1 alone
    return {country: _kept(tuple(names)) for country, names in zones.items()}


@cache
def _on_one_clock() -> dict[str, tuple[str, ...]]:
    """The zones of the calling codes whose numbers need no parsing, because all their zones have the same clock."""
    zones: dict[str, set[str]] = {}
    for prefix, names in TIMEZONE_DATA.items():
        zones.setdefault(_calling_code(prefix), set()).update(names)
    kept = {code: _kept(tuple(names)) for code, names in zones.items() if code}
    return {code: names for code, names in kept.items() if len({_clock(name) for name in names}) == 1}


def _clock(name: str) -> tuple[object, ...]:
    zone = zoneinfo.ZoneInfo(name)
    return tuple(moment.astimezone(zone).utcoffset() for moment in _SAMPLES)
