"""Phone numbers: whether they can receive messages, and the one form that we store."""

import re
from functools import cache

import phonenumbers

from onboarding_worker.lists.cells import bare, invisible_in
from onboarding_worker.providers.values import (
    AS_TEXT,
    Refusal,
    characters,
    masked_phone,
    unless_rewritten,
    written_as_float,
)

_PHONE_CHARACTERS = re.compile(r"[+\d\s().\-/\u2010-\u2015\u2212]+\Z")
# Behind a number that a program has kept as a float. Without its dot it would be digits of another person's number.
_FRACTION = re.compile(r"\.(0{1,2}\Z|(?<=\d{7}\.)\d{1,2}\Z)")
_PLUS_IN_BRACKETS = re.compile(r"\A\(\s*\+\s*(\d{1,3})\s*\)\s*")
_MEXICO, _DIALLED = 52, re.compile(r"(?:0?1|04[45])([2-9][0-9]{9})")
_SHORTEST_NATIONAL = 3  # digits
_SHORTEST_PHONE = 7  # digits with the country code: no shorter number can receive a text message
_LONGEST_PHONE = 15  # E.164
_AS_WRITTEN = str.maketrans("", "", " -.()")  # the library leaves these characters out, wherever they are
_WRONG_LENGTH = {
    phonenumbers.ValidationResult.TOO_SHORT: "too few digits for its country",
    phonenumbers.ValidationResult.TOO_LONG: "too many digits for its country",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "a local number without its area code",
    phonenumbers.ValidationResult.INVALID_LENGTH: "a number of digits that its country does not use",
}


def phone_of_any_country(text: str, _wrong: str = "") -> str | Refusal:
    """What can be said of a number whose country is not known: a Refusal if no country has such numbers. A national
    number is returned as it is written: it is of no use but to a reader of the line's other problems."""
    text = _bare(text)
    if text.startswith("+"):
        return phone(text, "")
    if refusal := _not_a_number(text):
        return refusal
    digits = sum(character.isdigit() for character in text)
    if not _SHORTEST_NATIONAL <= digits <= _LONGEST_PHONE:
        return Refusal("a number too short or too long for every country", "check the number of digits")
    return text


def _bare(text: str) -> str:
    return _PLUS_IN_BRACKETS.sub(r"+\1 ", bare(text, "tel:"))


def _not_a_number(text: str) -> Refusal | None:
    """Why the text is no number in any country."""
    if rewritten := unless_rewritten(text):
        return rewritten
    if "…" in text:
        return Refusal("a masked number", "give the whole number, or leave the cell empty")
    if not _PHONE_CHARACTERS.match(text):
        if hidden := invisible_in(text):
            return Refusal(f"an invisible character in a number: {hidden}", "delete it, or type the number again")
        return Refusal(
            f"{characters(text)}, and not all of them belong to a phone number", "give digits, as in +37060000000"
        )
    if text.count(".") == 1 and (found := _FRACTION.search(text)):
        if int(found[1]):
            return Refusal("a number with a fraction", AS_TEXT)
        return written_as_float(phonenumbers.normalize_digits_only(text[: found.start()]))
    return None


def phone(text: str, country: str) -> str | Refusal:
    """The number as E.164. `country` (alpha-2, may be empty) applies to a number written without a +. Every possible
    number is accepted, not only ranges known to be in use: number plans change faster than our copy of them, and the
    SMS provider refuses an unused number free of charge."""
    found = readings(text, country)
    if isinstance(found, Refusal):
        return found
    if len(found) == 1:
        return found[0]
    digits = phonenumbers.normalize_digits_only(text).removeprefix("00")
    prefix = phonenumbers.ndd_prefix_for_region(country, True)
    code = f"+{phonenumbers.country_code_for_region(country)} "
    national = masked_phone(prefix + digits) if prefix else code + masked_phone(digits)
    hint = f"write {masked_phone('+' + digits)} or {national}"
    return Refusal("it is one number with a + before it, and another without", hint)


def readings(text: str, country: str) -> tuple[str, ...] | Refusal:
    """The numbers that the text may be: two where a national number begins with the digits of its country code. The one
    that is valid counts then, if only one is."""
    if text[:1] == "+" and "." not in text and (plain := plain_phone(text)):
        return (plain,)
    text = _bare(text)
    international = text.startswith("+")
    if refusal := _not_a_number(text):
        return refusal
    if not international and not country:
        if text.startswith("00"):
            return Refusal("a number that starts with 00", "write + and the country code instead of 00")
        return Refusal("a national number without a country", "start with + and the country code, or fill in country")
    number = _parsed(text, country)
    if isinstance(number, Refusal):
        return number
    numbers = {_e164(number): number}
    if not international and (other := _without_plus(text, country)):
        numbers.setdefault(_e164(other), other)
    valid = [e164 for e164, one in numbers.items() if len(numbers) > 1 and phonenumbers.is_valid_number(one)]
    return tuple(valid if len(valid) == 1 else numbers)


def readings_anywhere(text: str) -> tuple[str, ...]:
    """The numbers that the text may be in any country: to look for one whose country the person does not say."""
    every = (readings(text, region) for region in sorted(phonenumbers.SUPPORTED_REGIONS))
    return tuple(dict.fromkeys(number for each in every if not isinstance(each, Refusal) for number in each))


def _without_plus(text: str, country: str) -> phonenumbers.PhoneNumber | None:
    """The number that the text is if its + was lost, or 00 stands for it; None if it is none."""
    digits = phonenumbers.normalize_digits_only(text)
    if not digits.startswith(("00", str(phonenumbers.country_code_for_region(country)))):
        return None
    number = _parsed(f"+{digits.removeprefix('00')}", "")
    return None if isinstance(number, Refusal) else number


def _parsed(text: str, country: str) -> phonenumbers.PhoneNumber | Refusal:
    """The number as the library reads it: one that is possible, and can get text messages."""
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            return Refusal("a number with a country code that does not exist", "check the digits after the +")
        return Refusal(f"{characters(text)} that are not a phone number", "give the number as +37060000000")
    # Mexico's numbers have ten digits; what was dialled before them until 2019 is no part of them.
    dialled = _DIALLED.fullmatch(phonenumbers.national_significant_number(number))
    if number.country_code == _MEXICO and dialled:
        number = phonenumbers.parse(f"+{_MEXICO}{dialled[1]}")
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return Refusal(_WRONG_LENGTH.get(reason, "not a number of its country"), "check the number of digits")
    if not _SHORTEST_PHONE <= len(_e164(number)) - 1 <= _LONGEST_PHONE:
        return Refusal("a number too short or too long for text messages", "check the number of digits")
    return number


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def plain_phone(text: str) -> str | None:
    """The number as E.164, if it begins with + and the library would certainly keep its digits as they are. This takes
    a tenth of the library's time. The library alone decides about every other number, and refuses."""
    kept = text.translate(_AS_WRITTEN)
    digits = kept[1:]
    if not (digits.isascii() and digits.isdigit() and _SHORTEST_PHONE <= len(digits) <= _LONGEST_PHONE):
        return None
    lengths, prefix, of_country = _numbers_of(digits[:3])
    number = digits[of_country:]
    return kept if len(number) in lengths and not (prefix and prefix.match(number)) else None


@cache
def _numbers_of(start: str) -> tuple[frozenset[int], re.Pattern[str] | None, int]:
    """By the library's metadata: how many digits a number may have whose first three digits are these, the national
    prefixes that the library would take off, and how many digits are the country code: 0 if there is none."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    # No country code is the beginning of another one.
    code = next((start[:length] for length in (1, 2, 3) if start[0] != "0" and int(start[:length]) in codes), "")
    region = phonenumbers.region_code_for_country_code(int(code or 0))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code or 0), region)
    if metadata is None or metadata.general_desc is None:
        return frozenset(), None, len(code)
    numbers, prefix = metadata.general_desc, metadata.national_prefix_for_parsing
    lengths = frozenset(numbers.possible_length) - frozenset(numbers.possible_length_local_only)
    return lengths, re.compile(prefix) if prefix else None, len(code)
