"""Dates in words, in the recipient's language and time zone.

Five small tables instead of a locale database: any other language gets English dates.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Dates:
    """How one language writes a date. `first` is the first day of a month, if the language writes it differently.

    `short` is for text messages: it uses only letters of the GSM 7-bit alphabet, so that the text stays one segment.
    """

    months: str
    long: str
    short: str
    first: str = "1"


DATES = {
    "en": Dates(
        "January February March April May June July August September October November December",
        "{day} {month} {year}, {hour:02}:{minute:02} ({zone})",
        "{day} {month:.3} {year}, {hour:02}:{minute:02} ({zone})",
    ),
    "de": Dates(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "{day}. {month} {year}, {hour:02}:{minute:02} Uhr ({zone})",
        "{date:%d.%m.%Y}, {hour:02}:{minute:02} Uhr ({zone})",
    ),
    "es": Dates(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "{day} de {month} de {year}, {hour:02}:{minute:02} h ({zone})",
        "{date:%d/%m/%Y}, {hour:02}:{minute:02} h ({zone})",
    ),
    "fr": Dates(
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "{day} {month} {year} à {hour} h {minute:02} ({zone})",
        "{date:%d/%m/%Y} à {hour} h {minute:02} ({zone})",
        first="1er",
    ),
    "lt": Dates(  # months in the genitive, as a date needs them
        "sausio vasario kovo balandžio gegužės birželio liepos rugpjūčio rugsėjo spalio lapkričio gruodžio",
        "{year} m. {month} {day} d. {hour:02}:{minute:02} ({zone})",
        "{date:%Y-%m-%d} {hour:02}:{minute:02} ({zone})",
    ),
}


def in_words(moment: datetime, *, language: str, timezone: str, short: bool = False) -> str:
    """`moment` (aware) to the minute, as the language writes it, with the zone's name.

    `language` is BCP 47; only its first part counts. `timezone` is an IANA name; empty or unknown means UTC.
    """
    # Most links of a batch end within the same minutes.
    return _in_words(moment.replace(second=0, microsecond=0), language.partition("-")[0].lower(), timezone, short)


@lru_cache(maxsize=1024)
def _in_words(moment: datetime, language: str, timezone: str, short: bool) -> str:
    local = moment.astimezone(_zone(timezone))
    words = DATES.get(language, DATES["en"])
    return (words.short if short else words.long).format(
        date=local,
        day=words.first if local.day == 1 else local.day,
        month=words.months.split()[local.month - 1],
        year=local.year,
        hour=local.hour,
        minute=local.minute,
        zone=_zone_name(local),
    )


def _zone(name: str) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # no such zone; not a name at all; a folder of zones
        return UTC


def _zone_name(local: datetime) -> str:
    name = local.tzname() or ""
    if name.isalpha():
        return name
    offset = local.utcoffset() or timedelta(0)  # zones without an abbreviation call themselves "-03"
    sign, minutes = "-" if offset < timedelta(0) else "+", abs(offset) // timedelta(minutes=1)
    return f"UTC{sign}{minutes // 60:02}:{minutes % 60:02}"
