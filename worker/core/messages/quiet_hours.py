"""Quiet hours: when a message may be sent, and when to request a session: late, so that its link is fresh then. Pure,
and fast enough to be called for every row.

A customer's time zone is not known exactly: an Australian mobile may be in eight zones. A message leaves only when it
is outside quiet hours in all of them (docs/reference/quiet-hours.md).

The time zones that a customer may be in. Pure: tables of the phonenumbers and tzdata packages, read once.

Without a zone in the row there are several candidates, and a message must suit all of them: the zones where the
customer may be, not where the customer most probably is.
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

import phonenumbers
from phonenumbers.timezone import time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from worker.core.customers.customers import Customer

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


_HOUR = 3600
_DAY = 24 * _HOUR
# How far ahead to search for an hour that suits all zones. Such an hour comes once a day or never; where clocks change
# it may come an hour later than after a day.
_SEARCH = 2 * _DAY
_KNOWN_AHEAD = _DAY + _SEARCH  # from the start of the UTC day that `now` lies in
# No zone changes its offset and back within this.
_PROBE = 6 * _HOUR


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

    @property
    def length(self) -> timedelta:
        """Their length by a clock without changes."""
        return timedelta(seconds=(_seconds(self.end) - _seconds(self.start)) % _DAY)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def allowed_at(zones: tuple[str, ...], quiet: QuietHours | None, now: datetime) -> datetime:
    """The earliest time, `now` or later, that is outside quiet hours in all the zones; aware, less than 2 days ahead.

    Local wall-clock time counts: hours that a clock change skips do not exist, and hours that it repeats count twice.
    If the zones are so far apart that no hour of the next two days suits all of them, the result is the earliest time
    of the next day at which it is quiet in the fewest zones: a message is never put off for ever.

    `zones` are names from `time_zones.candidate_zones`; any other name raises ZoneInfoNotFoundError. No zones, or no
    quiet hours: the result is `now`. A naive `now` raises ValueError.
    """
    if now.tzinfo is None:
        raise ValueError("expected an aware time")
    if quiet is None or not zones:
        return now
    at = now.timestamp()
    ahead = _ahead(zones, quiet, int(at // _DAY))
    index = bisect_right(ahead.ends, at)
    if index < len(ahead.starts) and ahead.starts[index] < at + _SEARCH:
        found = ahead.starts[index]
    else:
        found = ahead.least_quiet(at)
    return now if found <= at else datetime.fromtimestamp(found, UTC)


def apart(one: QuietHours, other: QuietHours) -> timedelta:
    """The least time from an hour outside `one` to an hour outside `other`, by one clock; zero: they share an hour."""
    begins, ends = _seconds(one.end), _seconds(other.end)
    until_other, until_one = (ends - begins) % _DAY, (begins - ends) % _DAY
    one_free, other_free = _DAY - one.length.total_seconds(), _DAY - other.length.total_seconds()
    return timedelta(seconds=max(min(until_other - one_free, until_one - other_free), 0))


@dataclass(frozen=True)
class _Ahead:
    """Three days, in seconds since 1970: from each of `times` on it is quiet in as many zones as `counts` holds.

    `starts` and `ends` belong to the spans in which it is quiet in no zone.
    """

    times: tuple[int, ...]
    counts: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def least_quiet(self, at: float) -> int:
        """The earliest time within a day from `at` at which it is quiet in the fewest zones."""
        first = bisect_right(self.times, at) - 1
        last = bisect_left(self.times, at + _DAY)
        best = min(range(first, last), key=lambda index: self.counts[index])
        return self.times[best]


@lru_cache(maxsize=4096)
def _ahead(zones: tuple[str, ...], quiet: QuietHours, day: int) -> _Ahead:
    begins, ends = day * _DAY, day * _DAY + _KNOWN_AHEAD
    changes: dict[int, int] = {begins: 0}
    for zone in zones:
        for start, end in _quiet_spans(zone, quiet, day):
            changes[start] = changes.get(start, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    times: list[int] = []
    counts: list[int] = []
    count = 0
    for moment in sorted(changes):
        count += changes[moment]
        if moment < ends and not (counts and counts[-1] == count):
            times.append(moment)
            counts.append(count)
    free = [index for index, count in enumerate(counts) if not count]
    return _Ahead(
        tuple(times),
        tuple(counts),
        tuple(times[index] for index in free),
        tuple(times[index + 1] if index + 1 < len(times) else ends for index in free),
    )


@lru_cache(maxsize=8192)
def _quiet_spans(zone: str, quiet: QuietHours, day: int) -> tuple[tuple[int, int], ...]:
    """The quiet spans of the zone in the three days from `day` on."""
    start = _seconds(quiet.start)
    end = _seconds(quiet.end)
    length = end - start if end > start else end - start + _DAY
    spans = []
    for begins, ends, offset in _offsets(ZoneInfo(zone), day * _DAY, day * _DAY + _KNOWN_AHEAD):
        midnight = (begins + offset) // _DAY * _DAY - _DAY - offset  # yesterday's: its quiet hours may reach into today
        while midnight + start < ends:
            span = max(midnight + start, begins), min(midnight + start + length, ends)
            if span[0] < span[1]:
                spans.append(span)
            midnight += _DAY
    return tuple(spans)


def _offsets(zone: ZoneInfo, begins: int, ends: int) -> Iterator[tuple[int, int, int]]:
    """(from, to, the zone's offset) in seconds: the spans without a clock change."""
    since, offset = begins, _offset(zone, begins)
    for probe in range(begins + _PROBE, ends + 1, _PROBE):
        if _offset(zone, probe) == offset:
            continue
        before, after = probe - _PROBE, probe
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
        yield since, after, offset
        since, offset = after, _offset(zone, probe)
    yield since, ends, offset


def _offset(zone: ZoneInfo, at: int) -> int:
    return round((datetime.fromtimestamp(at, zone).utcoffset() or timedelta(0)).total_seconds())


def _seconds(clock: time) -> int:
    return clock.hour * _HOUR + clock.minute * 60


# Each round moves at most one day ahead; two channels that do not meet within these rounds never meet.
_ROUNDS = 4


@dataclass(frozen=True)
class Hours:
    """The configured times for messages: `quiet` holds the quiet hours by channel.

    `zone` is the time zone of customers without a known zone, phone or country.
    """

    quiet: Mapping[str, QuietHours] = field(default_factory=dict)
    zone: str = "UTC"

    def concern(self, channels: Sequence[str]) -> bool:
        """True if any of the channels has quiet hours; otherwise the customer's zone does not matter."""
        return bool(self.quiet) and any(channel in self.quiet for channel in channels)

    def zones(self, customer: Customer, channels: Sequence[str]) -> tuple[str, ...]:
        """The zones that the customer may be in; none where no channel has quiet hours."""
        if not self.concern(channels):
            return ()
        return self.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)

    def zones_of(self, *, timezone: str, phone: str, country: str) -> tuple[str, ...]:
        return candidate_zones(timezone=timezone, phone=phone, country=country, default=self.zone)

    def clock_of(self, *, timezone: str, phone: str, country: str) -> str:
        """The zone in which a customer reads times: the customer's own, if all zones that it may be in have one clock;
        else `zone`. A wrong clock in a message is worse than a foreign one, which the message names."""
        return shared_clock(self.zones_of(timezone=timezone, phone=phone, country=country)) or self.zone


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
    earliest = now
    for round_ in range(_ROUNDS):
        times = [allowed_at(zones, quiet.get(channel), moment) for channel in channels]
        if round_ == 0:
            earliest = min(times)
        if max(times) - min(times) <= max_age:
            return min(times)
        moment = max(times) - max_age
    return earliest


def message_at(
    channel: str,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    *,
    invite_at: datetime | None,
    now: datetime,
) -> datetime:
    """When a message may leave on a channel; aware, not before `now`. Until `invite_at` the customer is in the app."""
    return allowed_at(zones, quiet.get(channel), now if invite_at is None else max(invite_at, now))
