"""Decides when a message may be sent, and when to request a session: late, so that its link is fresh then. Pure, and
fast enough to be called for every row.

A customer's time zone is not known exactly: an Australian mobile may be in eight zones. A message leaves only when it
is outside quiet hours in all of them: where the customer may be, not where the customer most probably is
(docs/reference/quiet-hours.md). It refuses nothing for ever: where no hour suits all zones, one that disturbs the
fewest does.
"""

import re
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.rules.text_numbers import sharing

_NO_PLACES = ("Factory", "localtime")  # names in the database that are not zones, although ZoneInfo opens them
# Zones that have the same offset on each of these days count as one clock: then the number need not be parsed.
_SAMPLES = tuple(datetime(year, month, 1, tzinfo=UTC) for year in (2026, 2027) for month in range(1, 13))

_DAY = 24 * 3600
# How far ahead to search for an hour that suits all zones. Such an hour comes once a day or never; where clocks change
# it may come an hour later than after a day.
_SEARCH = 2 * _DAY
_KNOWN_AHEAD = _DAY + _SEARCH  # from the start of the UTC day that `now` lies in
# No zone changes its offset and back within this.
_PROBE = 6 * 3600
# Each round moves at most one day ahead; two channels that do not meet within these rounds never meet.
_ROUNDS = 4


@dataclass(frozen=True)
class QuietHours:
    """The hours, in the recipient's own time zone, in which no message is sent; over midnight if `end` is earlier."""

    start: time
    end: time

    @classmethod
    def parse(cls, given: Any) -> "QuietHours":
        """Read "21:00-08:00". Raises ValueError with the expected form."""
        if isinstance(given, QuietHours):
            return given
        clock = r"([01]\d|2[0-3]):([0-5]\d)"
        match = re.fullmatch(rf"\s*{clock}\s*-\s*{clock}\s*", given, re.ASCII) if isinstance(given, str) else None
        if not match:
            raise ValueError('expected hours such as "21:00-08:00"')
        hours = cls(time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4])))
        if hours.start == hours.end:
            raise ValueError('expected two different hours, such as "21:00-08:00"; leave it out for none')
        return hours

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@cache
def zone_names() -> frozenset[str]:
    """The names of all time zones. A name that is none of them must not be opened: it is a part of a file's name."""
    return frozenset(zoneinfo.available_timezones()) - frozenset(_NO_PLACES)


@cache
def zones_of_countries() -> Mapping[str, tuple[str, ...]]:
    """All zones of each inhabited country (alpha-2), by zone.tab."""
    zones: dict[str, list[str]] = {}
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if line and not line.startswith("#"):
            country, _, name, *_ = line.split("\t")
            zones.setdefault(country, []).append(name)
    zones["XK"] = ["Europe/Belgrade"]  # Kosovo's clock; zone.tab lists the countries of ISO 3166-1 alone
    return {country: tuple(sorted(zone_names() & {*names})) for country, names in zones.items()}


def _of_phone(phone: str) -> tuple[str, ...]:
    """The zones of a number in E.164; none for an invalid number or one without a place, such as a satellite phone."""
    regions = sharing(phone)
    if regions and (on_one_clock := _on_one_clock().get(regions)):
        return on_one_clock
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    try:
        # It leaves out "Etc/Unknown", the value for a number without a place.
        return tuple(sorted(zone_names() & {*time_zones_for_number(phonenumbers.parse(phone))}))
    except phonenumbers.NumberParseException:
        return ()


@cache
def _on_one_clock() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The zones of the countries whose numbers need no parsing, because all their zones have the same clock."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    zones: dict[tuple[str, ...], set[str]] = {}
    for prefix, names in TIMEZONE_DATA.items():
        zones.setdefault(sharing(f"+{prefix}"), set()).update(zone_names() & {*names})
    return {regions: tuple(sorted(names)) for regions, names in zones.items() if regions and _is_one_clock((*names,))}


@lru_cache(maxsize=4096)
def _is_one_clock(zones: tuple[str, ...]) -> bool:
    """True if all the zones have the same clock, such as Germany's two."""
    return len({tuple(at.astimezone(ZoneInfo(name)).utcoffset() for at in _SAMPLES) for name in zones}) == 1


@dataclass(frozen=True)
class Hours:
    """The configured times for messages: `quiet` holds the quiet hours by channel.

    `zone` is the time zone of customers without a known zone, phone or country.
    """

    quiet: Mapping[str, QuietHours] = field(default_factory=dict)
    zone: str = "UTC"

    def concern(self, channels: Sequence[str]) -> bool:
        """True if any of the channels has quiet hours; otherwise the customer's zone does not matter."""
        return any(channel in self.quiet for channel in channels)

    def zones(self, customer: Customer, channels: Sequence[str]) -> tuple[str, ...]:
        """The zones that the customer may be in; none where no channel has quiet hours."""
        if not self.concern(channels):
            return ()
        return self.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)

    def zones_of(self, *, timezone: str, phone: str, country: str) -> tuple[str, ...]:
        """Names of the zones that a customer may be in, sorted, at least one; ZoneInfo can open each.

        The row's `timezone` decides. If it is missing or unknown, `phone` (E.164) and `country` (alpha-2) decide: for a
        number of that country, whichever gives fewer zones; for a number of another country, both together, because
        the customer may be in either. Without any of the three: `zone`, or UTC if `zone` is unknown.
        """
        if timezone in zone_names():
            return (timezone,)
        by_phone = _of_phone(phone) if phone else ()
        by_country = zones_of_countries().get(country, ())
        if by_phone and by_country:
            if _is_of(phone, country):
                return min(by_phone, by_country, key=len)
            return tuple(sorted({*by_phone, *by_country}))
        return by_phone or by_country or (self.zone if self.zone in zone_names() else "UTC",)

    def clock_of(self, *, timezone: str, phone: str, country: str) -> str:
        """The zone in which a customer reads times: the customer's own, if all zones that it may be in have one clock;
        else `zone`. A wrong clock in a message is worse than a foreign one, which the message names."""
        zones = self.zones_of(timezone=timezone, phone=phone, country=country)
        return zones[0] if _is_one_clock(zones) else self.zone


def _is_of(phone: str, country: str) -> bool:
    """True if the valid number belongs to the country. False if the number is not written as E.164."""
    regions = sharing(phone)
    if country not in regions or len(regions) == 1:
        return country in regions
    import phonenumbers

    return phonenumbers.is_valid_number_for_region(phonenumbers.parse(phone), country)


def allowed_at(zones: tuple[str, ...], quiet: QuietHours | None, now: datetime) -> datetime:
    """The earliest time, `now` or later, that is outside quiet hours in all the zones; aware, less than 2 days ahead.

    Local wall-clock time counts: hours that a clock change skips do not exist, and hours that it repeats count twice.
    If the zones are so far apart that no hour of the next two days suits all of them, the result is the earliest time
    of the next day at which it is quiet in the fewest zones: a message is never put off for ever.

    `zones` are names from `Hours.zones`; any other name raises ZoneInfoNotFoundError. No zones, or no quiet hours: the
    result is `now`. A naive `now` raises ValueError.
    """
    if now.tzinfo is None:
        raise ValueError("expected an aware time")
    if quiet is None or not zones:
        return now
    at = now.timestamp()
    moments, counts = _ahead(zones, quiet, int(at // _DAY))
    present = bisect_right(moments, at) - 1

    def until(end: float) -> range:
        return range(present, bisect_left(moments, end))

    free = (index for index in until(at + _SEARCH) if not counts[index])
    found = moments[next(free, min(until(at + _DAY), key=counts.__getitem__))]
    return now if found <= at else datetime.fromtimestamp(found, UTC)


def leaves_by(
    channels: Sequence[str], zones: tuple[str, ...], quiet: Mapping[str, QuietHours], end: datetime
) -> datetime:
    """The last time, `end` or earlier, until which a message may leave on each of the channels; aware.

    That is when the quiet hours begin in which `end` lies or with which it comes, or `end`. Where zones are so far
    apart that no hour suits all of them, it is `end` too.
    """
    last, at = end, end.timestamp()
    for hours in [quiet[channel] for channel in channels if channel in quiet] if zones else ():
        moments, counts = _ahead(zones, hours, int(at // _DAY) - _SEARCH // _DAY)
        present = bisect_left(moments, at) - 1  # just before the end: where it ends quiet hours, they count
        free = next((index for index in range(present, -1, -1) if not counts[index]), present)
        if free != present:
            last = min(last, datetime.fromtimestamp(moments[free + 1], UTC))
    return last


@lru_cache(maxsize=4096)
def _ahead(zones: tuple[str, ...], quiet: QuietHours, day: int) -> tuple[list[int], list[int]]:
    """Moments of three days, in seconds since 1970, and in how many zones it is quiet from each until the next."""
    begins, ends = day * _DAY, day * _DAY + _KNOWN_AHEAD
    clocks = [ZoneInfo(name) for name in zones]
    turns = {begins, *(moment for zone in clocks for moment in _turns(zone, quiet, begins, ends))}
    moments = sorted(moment for moment in turns if begins <= moment < ends)
    return moments, [sum(_is_quiet(zone, quiet, moment) for zone in clocks) for moment in moments]


def _turns(zone: ZoneInfo, quiet: QuietHours, begins: int, ends: int) -> Iterator[int]:
    """When the zone's quiet hours may begin or end: at their hours by its clock, and where the clock is changed."""
    first = datetime.fromtimestamp(begins, zone).date()
    for day in range(_KNOWN_AHEAD // _DAY + 2):
        for clock in (quiet.start, quiet.end):
            for fold in (0, 1):  # an hour may come twice
                wall = datetime.combine(first + timedelta(days=day), clock, zone).replace(fold=fold)
                yield int(wall.timestamp())
    for before in range(begins, ends, _PROBE):
        seconds, offset = range(before, before + _PROBE + 1), _offset(zone, before)
        if _offset(zone, seconds[-1]) != offset:
            yield before + bisect_left(seconds, True, key=lambda at: _offset(zone, at) != offset)


def _is_quiet(zone: ZoneInfo, quiet: QuietHours, at: int) -> bool:
    wall = datetime.fromtimestamp(at, zone).time()
    if quiet.start < quiet.end:
        return quiet.start <= wall < quiet.end
    return not quiet.end <= wall < quiet.start


def _offset(zone: ZoneInfo, at: int) -> timedelta | None:
    return datetime.fromtimestamp(at, zone).utcoffset()


def issue_at(
    channels: Sequence[str],
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    *,
    max_age: timedelta,
    now: datetime,
) -> datetime:
    """When to request a session for a customer who is invited on these channels; aware, never before `now`.

    `zones` are the zones that the customer may be in, `quiet` the hours by channel. `max_age` is how old a link may be
    when it leaves: its lifetime less its freshness floor. The result is the earliest time at which a message may leave;
    with several channels, the earliest time from which every channel may send within `max_age`. If the quiet hours
    leave no such time, the result is the earliest time at which any channel may send: the first message takes the link,
    and the other message is not sent.

    Without a channel the result is `now`: the caller fetches the link.
    """
    if not channels:
        return now
    moment = now
    for _ in range(_ROUNDS):
        times = [allowed_at(zones, quiet.get(channel), moment) for channel in channels]
        if max(times) - min(times) <= max_age:
            return min(times)
        moment = max(times) - max_age
    return min(allowed_at(zones, quiet.get(channel), now) for channel in channels)
