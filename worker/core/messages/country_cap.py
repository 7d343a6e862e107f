"""How many texts may go to one country in an hour, over all customers, lists and events. Pure.

Strangers who sign up numbers that they earn on (toll fraud) have a bank send thousands of texts to a country where it
has few customers. So texts to each country are counted by the hour. At the cap the texts to this country wait for the
next hour, and a person is asked to look; texts to other countries go on.
"""

from datetime import datetime, timedelta

import phonenumbers

HOUR = timedelta(hours=1)
NOWHERE = "??"  # the country of a number that no number plan knows


def country_of(phone: str) -> str:
    """The country of a number (E.164), by its ISO code; where several share a calling code, the main one."""
    if (alone := _by_calling_code(phone)) is not None:
        return alone
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return NOWHERE
    sharing = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    return phonenumbers.region_code_for_number(number) or next(iter(sharing), NOWHERE)


def _by_calling_code(phone: str) -> str | None:
    """The country, if no other has its calling code: as `phonenumbers` finds it, in a fraction of the time. A list of a
    million rows is counted by it."""
    digits = phone[1:]
    if not (phone[:1] == "+" and digits.isascii() and digits.isdecimal() and 8 <= len(digits) <= 15):
        return None
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    regions = next((codes[code] for n in (1, 2, 3) if (code := int(digits[:n])) in codes), ())  # no code begins another
    return regions[0] if len(regions) == 1 else None


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour, UTC."""
    return at.replace(minute=0, second=0, microsecond=0)


def may_go(cap: int, sent: int, wanted: int) -> int:
    """How many of the `wanted` texts may go now, after `sent` in this hour."""
    return max(0, min(wanted, cap - sent))


def last_text_at(cap: int, left: int, sent: int, *, now: datetime) -> datetime:
    """When the last of `left` texts to a country may go, after `sent` in this hour; `now` if none waits for an hour."""
    waiting = left - max(cap - sent, 0)
    return now if waiting <= 0 else hour_of(now) + HOUR * -(-waiting // cap)
