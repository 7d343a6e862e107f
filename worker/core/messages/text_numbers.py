"""Which phone numbers may get a text message, and how many texts may go to one country. Pure: the number plans of the
phonenumbers package.

A list or a sign-up form is an easy way to have us pay for texts to numbers that somebody earns on (toll fraud). So the
numbers that cost the sender or the recipient extra are never written to, and `[sms] countries` bounds the rest. Texts
to each country are counted by the hour, over all customers, lists and events: a bank with few customers there would
send thousands. At the cap the texts to this country wait for the next hour, and a person is asked to look.

Counts the segments that a text is sent and charged as. Source: 3GPP TS 23.038 (alphabet), 23.040 (long texts).

One letter outside the phone alphabet makes the whole text UCS-2, and its segments less than half as long.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import phonenumbers
from phonenumbers import PhoneNumberType

# Toll-free numbers stay allowed: some receive texts, at the usual price. So does what may be a mobile or a landline.
_NEVER = {
    PhoneNumberType.FIXED_LINE: "a landline, which gets no texts",
    PhoneNumberType.PREMIUM_RATE: "a premium-rate number",
    PhoneNumberType.SHARED_COST: "a shared-cost number",
    PhoneNumberType.PERSONAL_NUMBER: "a personal number, which forwards at a higher price",
    PhoneNumberType.PAGER: "a pager's number",
    PhoneNumberType.UAN: "a company's access number",
    PhoneNumberType.VOICEMAIL: "a voicemail's number",
}
_NO_COUNTRY = "001"  # the region of satellite phones and international networks, such as +870, +881 and +979
# Twilio's documented test numbers, which its test credentials and the sandbox know. By their plan they are personal.
_TWILIO_TEST = "+1500555000"

# What is wrong where `[sms] countries` is not given, and what to do.
EVERYWHERE = "texts may go to every country, also where strangers earn on them"
NAME_COUNTRIES = "name the countries of your customers in [sms] countries"


def why_not_texted(phone: str, countries: Collection[str] | None) -> str:
    """Why a number (E.164) gets no text message, in words without the number; "" if it may get one.

    `countries` (alpha-2) are those that texts may go to; None: all. A number that no number plan knows counts as one of
    the main country of its calling code, because plans change faster than our copy of them.
    """
    number = _parsed(phone)
    if number is None:
        return "not a phone number"
    if _NO_COUNTRY in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ()):
        return "a satellite phone's or an international network's number"
    if phone.startswith(_TWILIO_TEST):
        return ""
    never = _NEVER.get(phonenumbers.number_type(number))
    if never or countries is None:
        return never or ""
    country = _country(number)
    return "" if country in countries else f"a number of {country or 'no country'}, which [sms] countries does not have"


def is_landline(phone: str) -> bool:
    """Whether a number (E.164) can only be a landline."""
    number = _parsed(phone)
    return number is not None and phonenumbers.number_type(number) == PhoneNumberType.FIXED_LINE


def _parsed(phone: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return None


HOUR = timedelta(hours=1)
NOWHERE = "??"  # the country of a number that no number plan knows


def country_of(phone: str) -> str:
    """The country of a number (E.164), by its ISO code; where several share a calling code, the main one."""
    regions = sharing(phone)
    if len(regions) == 1 and 8 <= len(phone[1:]) <= 15 and phone[1:].isascii() and phone[1:].isdecimal():
        return regions[0]  # as `phonenumbers` finds it, in a fraction of the time: lists have a million rows
    number = _parsed(phone)
    return (_country(number) if number is not None else "") or NOWHERE


def _country(number: phonenumbers.PhoneNumber) -> str:
    sharing_it = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    return phonenumbers.region_code_for_number(number) or next(iter(sharing_it), "")


def sharing(phone: str) -> tuple[str, ...]:
    """The countries that share the calling code of a number (E.164), the main one first; none if it has no such code.

    No calling code is the start of another one.
    """
    digits = phone[1:4] if phone.startswith("+") else ""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    starts = (digits[:n] for n in range(1, len(digits) + 1))
    return next((codes[int(code)] for code in starts if code.isdecimal() and int(code) in codes), ())


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour, UTC."""
    return at.replace(minute=0, second=0, microsecond=0)


def may_go(cap: int, sent: int, wanted: int) -> int:
    """How many of the `wanted` texts may go now, after `sent` in this hour."""
    return max(0, min(wanted, cap - sent))


# 3GPP TS 23.038, 6.2.1: each letter costs one septet. The escape itself (0x1B) is not a letter.
GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# 6.2.1.1: each costs two septets, the escape and the letter, which stay in one segment.
GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


# Room in a text of one message, and in each part of a longer text, which needs some room for its numbering: in septets
# for GSM-7, in 16-bit units for UCS-2.
ROOM = {Encoding.GSM_7: (160, 153), Encoding.UCS_2: (70, 67)}


@dataclass(frozen=True)
class Segments:
    """How a text is sent: in `count` messages of `encoding`. An empty text has 0."""

    encoding: Encoding
    count: int


def segments(text: str) -> Segments:
    """How the text is sent, unchanged: nothing is replaced or left out to make it shorter."""
    plain = all(letter in GSM_7 or letter in GSM_7_EXTENSION for letter in text)
    encoding = Encoding.GSM_7 if plain else Encoding.UCS_2
    costs = [_cost(letter, encoding) for letter in text]
    single, part = ROOM[encoding]
    if sum(costs) <= single:
        return Segments(encoding, 1 if text else 0)
    count, used = 1, 0
    for cost in costs:
        if used + cost > part:
            count, used = count + 1, 0
        used += cost
    return Segments(encoding, count)


def _cost(letter: str, encoding: Encoding) -> int:
    if encoding is Encoding.GSM_7:
        return 2 if letter in GSM_7_EXTENSION else 1
    return 2 if ord(letter) > 0xFFFF else 1  # two 16-bit units, which stay in one segment too
