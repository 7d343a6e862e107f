"""Which phone numbers may get a text message, and how many texts may go to one country. Pure: the number plans of the
phonenumbers package.

A list or a sign-up form is an easy way to have us pay for texts to numbers that somebody earns on (toll fraud). So the
numbers that cost the sender or the recipient extra are never written to, and `[sms] countries` bounds the rest. Texts
to each country are counted by the hour, over all customers, lists and events: a bank with few customers there would
send thousands. At the cap the texts to this country wait for the next hour, and a person is asked to look.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# `phonenumbers` is imported where it is used: it takes a twentieth of the time of a command that reads no number.
_NO_COUNTRY = "001"  # the region of satellite phones and international networks, such as +870, +881 and +979
# Twilio's documented test numbers, which its test credentials and the sandbox know. By their plan they are personal.
_TWILIO_TEST = "+1500555000"
_LANDLINE = "a landline, which gets no texts"

# What is wrong where `[sms] countries` is not given, and what to do.
EVERYWHERE = "texts may go to every country, also where strangers earn on them"
NAME_COUNTRIES = "name the countries of your customers in [sms] countries"


def why_not_texted(phone: str, countries: Collection[str] | None) -> str:
    """Why a number (E.164) gets no text message, in words without the number; "" if it may get one.

    `countries` (alpha-2) are those that texts may go to; None: all. A number that no number plan knows counts as one of
    the main country of its calling code, because plans change faster than our copy of them.
    """
    if why := _never_texted(phone):
        return why
    if countries is None or phone.startswith(_TWILIO_TEST):
        return ""
    country = country_of(phone)
    return "" if country in countries else f"a number of {country}, which [sms] countries does not have"


def _never_texted(phone: str) -> str:
    """Why a number gets no text in any country; "" if it may. The library, which takes fifty times as long, is asked
    only about a number that some plan may have among those of `_never`."""
    texted = _texted(phone[:4])
    if texted is not None and texted.match(phone):
        return ""
    import phonenumbers

    number = _parsed(phone)
    if number is None:
        return "not a phone number"
    if _NO_COUNTRY in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ()):
        return "a satellite phone's or an international network's number"
    if phone.startswith(_TWILIO_TEST):
        return ""
    return _never().get(phonenumbers.number_type(number), "")


@cache
def _never() -> dict[int, str]:
    """The types of numbers that get no text. Toll-free numbers stay allowed: some receive texts, at the usual price. So
    does what may be a mobile or a landline."""
    from phonenumbers import PhoneNumberType

    return {
        PhoneNumberType.FIXED_LINE: _LANDLINE,
        PhoneNumberType.PREMIUM_RATE: "a premium-rate number",
        PhoneNumberType.SHARED_COST: "a shared-cost number",
        PhoneNumberType.PERSONAL_NUMBER: "a personal number, which forwards at a higher price",
        PhoneNumberType.PAGER: "a pager's number",
        PhoneNumberType.UAN: "a company's access number",
        PhoneNumberType.VOICEMAIL: "a voicemail's number",
    }


def is_landline(phone: str) -> bool:
    """Whether a number (E.164) can only be a landline."""
    return _never_texted(phone) == _LANDLINE


@lru_cache(maxsize=4096)
def _texted(start: str) -> re.Pattern[str] | None:
    """The numbers that begin so, whose digits the library would keep as they are, and that no plan of a country with
    this calling code has among those of `_never`. Only a landline's plan that is not a mobile's counts."""
    import phonenumbers

    regions = sharing(start)
    if not regions or _NO_COUNTRY in regions:
        return None
    code, of_region = phonenumbers.country_code_for_region(regions[0]), phonenumbers.PhoneMetadata
    main, *others = (of_region.metadata_for_region_or_calling_code(code, region) for region in regions)
    if main is None:
        return None
    never = []
    for plan in filter(None, (main, *others)):
        of_mobiles = "(?!)"
        if plan.mobile is not None and plan.mobile.national_number_pattern:
            lengths = "|".join(f".{{{length}}}" for length in plan.mobile.possible_length) or ".*"
            of_mobiles = rf"(?=(?:{lengths})\Z)(?:{plan.mobile.national_number_pattern})\Z"
        costly = (plan.premium_rate, plan.shared_cost, plan.personal_number, plan.pager, plan.uan, plan.voicemail)
        never += [f"(?:{of.national_number_pattern})" for of in costly if of is not None and of.national_number_pattern]
        if plan.fixed_line is not None and plan.fixed_line.national_number_pattern:
            never.append(f"(?!{of_mobiles})(?:{plan.fixed_line.national_number_pattern})")
    prefix = f"(?!{main.national_prefix_for_parsing})" if main.national_prefix_for_parsing else ""
    return re.compile(rf"\+(?=[0-9]{{7,15}}\Z){code}{prefix}(?!(?:{'|'.join(never) or '(?!)'})\Z)")


def _parsed(phone: str) -> "PhoneNumber | None":
    import phonenumbers

    try:
        return phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return None


HOUR = timedelta(hours=1)
KEPT = timedelta(days=2)  # the counts of a country
NOWHERE = "??"  # the country of a number that no number plan knows


def country_of(phone: str) -> str:
    """The country of a number (E.164), by its ISO code; where several share a calling code, the main one."""
    regions = sharing(phone)
    if len(regions) == 1 and 8 <= len(phone[1:]) <= 15 and phone[1:].isdecimal():
        return regions[0]  # as `phonenumbers` finds it, in a fraction of the time: lists have a million rows
    number = _parsed(phone)
    return (_country(number) if number is not None else "") or NOWHERE


def _country(number: "PhoneNumber") -> str:
    import phonenumbers

    sharing_it = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    return phonenumbers.region_code_for_number(number) or next(iter(sharing_it), "")


def sharing(phone: str) -> tuple[str, ...]:
    """The countries that share the calling code of a number (E.164), the main one first; none if it has no such code.

    No calling code is the start of another one.
    """
    return _sharing(phone[:4])


@lru_cache(maxsize=4096)
def _sharing(start: str) -> tuple[str, ...]:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE as codes

    digits = start[1:] if start.startswith("+") else ""
    starts = (digits[:n] for n in range(1, len(digits) + 1))
    return next((codes[int(code)] for code in starts if code.isdecimal() and int(code) in codes), ())


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour, UTC."""
    return at.replace(minute=0, second=0, microsecond=0)
