"""Which phone numbers may get a text message. Pure: the number plans of the phonenumbers package.

A list or a sign-up form is an easy way to have us pay for texts to numbers that somebody earns on. So the numbers that
cost the sender or the recipient extra are never written to, and `[sms] countries` bounds the rest.
"""

from collections.abc import Collection

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
    sharing = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    if _NO_COUNTRY in sharing:
        return "a satellite phone's or an international network's number"
    if phone.startswith(_TWILIO_TEST):
        return ""
    never = _NEVER.get(phonenumbers.number_type(number))
    if never or countries is None:
        return never or ""
    country = phonenumbers.region_code_for_number(number) or next(iter(sharing), "")
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
