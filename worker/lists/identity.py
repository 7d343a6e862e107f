"""The list owner's own id of a customer: it appears in logs and reports, so it must not be personal data."""

import hashlib
import re

import phonenumbers

from worker.core.customers.refusals import Refusal, characters, unless_rewritten
from worker.core.model.placeholders import is_no_value

LONGEST_ID = 100
_LONGEST_HASHED = 1000
_LOOKS_LIKE_EMAIL = re.compile(r"\S+@\S+")
_LOOKS_LIKE_PHONE = re.compile(r"(?=(?:\D*\d){7,15}\D*\Z)[+(][\d\s().\-/]+\Z")
_DIGITS_AND_SIGNS = re.compile(r"[\d\s().\-/]{7,25}\Z")
_NOT_A_DIGIT = re.compile(r"\D")
_HINT = "give another id, or use --hash-ids to keep only a hash of it"


def customer_id(text: str, *, hash_ids: bool, phone: str, country: str) -> str | Refusal:
    """The id as it is stored. `phone` (E.164) and `country` are the line's, empty where it has none.

    With `hash_ids` every id is hashed, so that the stored id depends only on the list's id.
    """
    if not text:
        return Refusal("it is empty", "give each customer an id of your own that stays the same")
    if lost := unless_rewritten(text):
        return lost
    if is_no_value(text):  # all customers without an id would be one
        return Refusal("a word that stands for no value", "give each customer an id of your own that stays the same")
    if hash_ids:
        return _hashed(text)
    if not (text.isascii() and text.isprintable()):
        return Refusal(
            "characters that are not printable ASCII", "use letters, digits and punctuation, or use --hash-ids"
        )
    if len(text) > LONGEST_ID:
        return Refusal(f"{characters(text)}, more than {LONGEST_ID}", "use a shorter id, or use --hash-ids")
    if "@" in text and _LOOKS_LIKE_EMAIL.search(text):
        return Refusal("it looks like an email address", _HINT)
    if _is_phone(text, phone, country):
        return Refusal("it looks like a phone number", _HINT)
    return text


def _is_phone(text: str, phone: str, country: str) -> bool:
    if text[0] in "+(":
        return _LOOKS_LIKE_PHONE.match(text) is not None
    if not (text[0].isdigit() and _DIGITS_AND_SIGNS.match(text)):
        return False
    # Plain numbers are the most common ids, so they count as phone numbers only if the line's phone or country says so.
    digits = _NOT_A_DIGIT.sub("", text).lstrip("0")
    if phone and len(digits) >= 7 and phone.endswith(digits):
        return True
    if not (text.startswith("0") and country):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, country))
    except phonenumbers.NumberParseException:
        return False


def _hashed(text: str) -> str | Refusal:
    if len(text) > _LONGEST_HASHED:
        return Refusal(f"{characters(text)}, more than {_LONGEST_HASHED:,}", "use a shorter id")
    # Email addresses are equal in upper and lower case; other ids may differ by case.
    stable = text.lower() if "@" in text else text
    return "h-" + hashlib.sha256(stable.encode("utf-8", "surrogatepass")).hexdigest()[:32]
