"""The parameters of iDenfy's KYC token call in both its forms, and what each may be; and how rules are written.

Sources: of the narrative form, with its 58 parameters, the provider's page "Generate token"; its document type names,
the parameters in DOCUMENTED_SINCE and the angle brackets that names may not hold are from the provider's other pages.
Of the nested form the OpenAPI document on the page "Generate KYC token", which marks values that may be null as
nullable.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from onboarding_sandbox.wire import ALPHA_2, Answer, is_uuid

DEFAULT_EXPIRY = 86_400  # seconds: the environment's default, which also bounds sessions with a digit string
DEFAULT_SESSION_LENGTH = 1_800  # seconds

DOCUMENT_TYPES = frozenset(
    """
    ID_CARD PASSPORT RESIDENCE_PERMIT DRIVER_LICENSE PAN_CARD AADHAAR VISA NATIONAL_PASSPORT OTHER PHOTO_CARD
    PROVISIONAL_DRIVER_LICENSE OLD_ID_CARD MILITARY_CARD ADDRESS_CARD SMART_ID CLEAR ONE_ID BANK_ID_SE BANK_ID_NO
    BANK_ID_CZ FTN MIT_ID VERIMI LA_WALLET SAMSUNG_WALLET MOJE_ID_CZ YOTI_ID BORDER_CROSSING ASYLUM VOTER_CARD
    PROOF_OF_AGE_CARD TRAVEL_CARD SOCIAL_SECURITY_CARD DIPLOMATIC_ID WORK_PERMIT
    """.split()  # noqa: SIM905  # as words a table can be read
)
_NOT_IN_NAMES = frozenset('~!@#$%^*()_+={}[]|:;",/?<>\\')
_JOINERS = "\u200c\u200d"  # invisible, but part of how some names are spelt


Allows = Callable[[Any], bool]


@dataclass(frozen=True)
class Rule:
    """The rule of a parameter: a text for the refusal, and a check."""

    text: str
    allows: Allows


def is_text(least: int, most: int | None = None, *, ascii_only: bool = False) -> Allows:
    return lambda value: (
        isinstance(value, str)
        and least <= len(value)
        and (most is None or len(value) <= most)
        and (value.isascii() or not ascii_only)
    )


def or_null(allows: Allows) -> Allows:
    return lambda value: value is None or allows(value)


def is_parsed(value: Any, parse: Callable[[str], Any]) -> bool:
    """Whether it is a text of which `parse` makes something, and raises no ValueError."""
    try:
        return isinstance(value, str) and bool(parse(value))
    except ValueError:
        return False


def _text(least: int, most: int, *, ascii_only: bool = False) -> Rule:
    words = f"a string of {least} to {most} {'ASCII ' if ascii_only else ''}characters"
    return Rule(words, is_text(least, most, ascii_only=ascii_only))


def whole(least: int, most: int | None = None) -> Rule:
    words = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
    # In Python True is an integer; in JSON true is not.
    return Rule(words, lambda value: type(value) is int and least <= value and (most is None or value <= most))


def _choice(*values: str) -> Rule:
    return Rule("one of " + ", ".join(values), lambda value: value in values)


def strings(words: str, allowed: Callable[[str], bool]) -> Rule:
    return Rule(
        words, lambda value: isinstance(value, list) and all(isinstance(one, str) and allowed(one) for one in value)
    )


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= 100 or not _NOT_IN_NAMES.isdisjoint(value):
        return False
    # "Letters only": marks and joiners belong to letters; a hyphen, apostrophe, full stop or space to names.
    classes = [unicodedata.category(one)[0] for one in value if one not in _JOINERS and one not in "'`´"]
    return set(classes) <= set("LMPZ") and "L" in classes


def _date(text: str) -> object:
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) and date.fromisoformat(text)


def _is_https(value: Any) -> bool:
    if not is_text(5, 2048)(value) or re.search(r"[\s\x00-\x1f\x7f]", value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_country(value: Any) -> bool:
    # The page's own sample writes "lt", so case does not matter.
    return isinstance(value, str) and (value.upper() in ALPHA_2 or value.upper() == "ALL")


def _is_data_of_steps(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(fields, dict) and all(isinstance(one, str) for one in fields.values()) for fields in value.values()
    )


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_NAME = Rule("a name of 1 to 100 letters, without digits and special characters", _is_name)
DATE = Rule("a date, YYYY-MM-DD", lambda value: is_parsed(value, _date))
_URL = Rule("an https URL of 5 to 2048 characters", _is_https)
_TOKEN_TYPE, _SEX = _choice("IDENTIFICATION", "DOCUMENT"), _choice("M", "F")
_BANK = ("verifyBank", "verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions")
_FLAGS = """
showInstructions generateDigitString reviewFailed reviewSuccessful verifyEmail verifyPhone verifyAddress nfcRequired
nfcOptional driverLicenseBack checkDriverLicense idLiveFaceValidation idLiveDocumentValidation checkLiveness
autoFaceMatching checkBlurAndGlare checkAml checkIpProxy checkFaceBlacklist checkDocFaceBlacklist checkDuplicateFaces
checkDuplicateDocFaces checkDuplicatePersonalData utilityBill questionnaireRequired
""".split()  # noqa: SIM905  # as words a table can be read

RULES: Mapping[str, Rule] = {
    "clientId": _text(1, 100, ascii_only=True),
    "firstName": _NAME,
    "lastName": _NAME,
    "dateOfBirth": DATE,
    "sex": _SEX,
    "nationality": Rule("an ISO 3166-1 alpha-2 code, or ALL", _is_country),
    "address": _text(0, 255),
    "externalRef": _text(0, 40, ascii_only=True),
    "country": Rule(
        "an ISO 3166-1 alpha-2 code or ALL, or a list of them",
        lambda value: _is_country(value) or (isinstance(value, list) and all(map(_is_country, value))),
    ),
    "documents": strings("a list of document type names", DOCUMENT_TYPES.__contains__),
    "documentNumber": _text(1, 50, ascii_only=True),
    "personalNumber": _text(1, 50, ascii_only=True),
    "dateOfExpiry": DATE,
    "dateOfIssue": DATE,
    **dict.fromkeys(("successUrl", "errorUrl", "unverifiedUrl", "callbackUrl"), _URL),
    # The length is from the OpenAPI form of the same call; an unknown language is answered in English, not refused.
    "locale": Rule(
        "a two-letter language code",
        lambda value: isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z]{2}([-_][A-Za-z]{2,4})?", value)),
    ),
    "expiryTime": whole(1, 2_592_000),
    "sessionLength": whole(60, 3_600),
    "tokenType": _TOKEN_TYPE,
    **dict.fromkeys((*_FLAGS, *_BANK), FLAG),
    "ageLimit": whole(1),
    "ageMax": whole(1),
    "registryCentersCountries": strings("a list of country codes", _is_country),
    "additionalSteps": Rule("an object or null", or_null(lambda value: isinstance(value, dict))),
    "additionalData": Rule("null, or an object of objects of strings", or_null(_is_data_of_steps)),
    "questionnaire": Rule("the key of a questionnaire, or null", or_null(is_text(1))),
    # The page's table says integer, its sample answer shows a UUID.
    "riskAssessmentProfile": Rule(
        "the id of a profile: an integer or a UUID", lambda value: type(value) is int or is_uuid(value)
    ),
}

# Not on the page, but in the provider's OpenAPI document of 2026-09.
DOCUMENTED_SINCE: Mapping[str, Rule] = {
    "theme": Rule("a UUID", is_uuid),
    **dict.fromkeys(("bankCardVerification", "bankCardPdfUpload", "checkCriminal", "checkPersonBlacklist"), FLAG),
    **dict.fromkeys(("checkLid", "allowBsnMasking", "autoAmlMonitoring"), FLAG),
    "faceMatchingThresholdModifier": Rule(
        "a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    ),
}


def envelope(status: int, identifier: str | None, message: str) -> Answer:
    """An error in iDenfy's form. 401, 402 and 403 come without an identifier."""
    return Answer(
        status, {"message": message} if identifier is None else {"identifier": identifier, "message": message}
    )


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


# Parameters that only this form has: a call with one of them is of this form.
MARKS = ("client", "urls", "settings", "lifetime", "allowedCountries", "allowedDocuments")


def _bounded(most: int | None = None) -> Rule:
    return Rule("a string" if most is None else f"a string of at most {most} characters", is_text(0, most))


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.text}, or null", or_null(rule.allows))


def _is_uri(value: str) -> object:
    parts = urlsplit(value)
    return parts.scheme and parts.netloc and not re.search(r"[\s\x00-\x1f\x7f]", value)


_NULLABLE = _or_null(_bounded())
_DATE = _or_null(DATE)
_URI = _or_null(Rule("a URI", lambda value: is_parsed(value, _is_uri)))

CLIENT: Mapping[str, Rule] = {
    "name": _or_null(_bounded(100)),
    "surname": _or_null(_bounded(100)),
    "dateOfBirth": _DATE,
    "nationality": _NULLABLE,
    "documentNumber": _or_null(_bounded(50)),
    "personalNumber": _or_null(_bounded(50)),
    "sex": _or_null(_SEX),
    "dateOfExpiry": _DATE,
    "dateOfIssue": _NULLABLE,
}
URLS: Mapping[str, Rule] = dict.fromkeys(("successUrl", "failUrl", "unverifiedUrl", "webhookUrl"), _URI)
SETTINGS: Mapping[str, Rule] = {
    **dict.fromkeys(("verifyEmail", "verifyPhone", *_BANK, "verifyPoaAddress", "showInstructions"), FLAG),
    **dict.fromkeys(("reviewFailedVerifications", "reviewSuccessfulVerifications"), FLAG),
}
_OBJECT = _or_null(Rule("an object", lambda value: isinstance(value, dict)))
OPENAPI_RULES: Mapping[str, Rule] = {
    "clientId": _bounded(100),
    "tokenType": _TOKEN_TYPE,
    "externalRef": _or_null(_bounded(40)),
    "generateDigitString": FLAG,
    "lifetime": whole(0, 2_592_000),
    "locale": _or_null(_bounded(7)),
    "sessionLength": whole(60, 3_600),
    "allowedCountries": _or_null(strings("a list of ISO 3166-1 alpha-2 codes", lambda one: one.upper() in ALPHA_2)),
    "allowedDocuments": _or_null(strings("a list of document types", bool)),
    "client": _OBJECT,
    "urls": _OBJECT,
    "settings": _OBJECT,
    "questionnaire": _NULLABLE,
    "questionnaireRequired": FLAG,
    "riskAssessmentProfile": _or_null(Rule("a UUID", lambda value: is_parsed(value, UUID))),
    "address": _NULLABLE,
}
INSIDE: Mapping[str, Mapping[str, Rule]] = {"client": CLIENT, "urls": URLS, "settings": SETTINGS}


def is_openapi(body: Mapping[str, Any]) -> bool:
    """Whether a call is of this form. A call with shared parameters only is of the narrative form."""
    return any(name in body for name in MARKS)


def check(body: Mapping[str, Any]) -> Answer | None:
    """The refusal of the first thing that is wrong with the parameters, or None. It names a parameter, never its value.
    An unknown parameter is most likely misspelt."""
    parts: list[tuple[str, Mapping[str, Rule], Mapping[str, Any]]]
    nested = is_openapi(body)
    if nested:
        if mixed := next((name for name in body if name in RULES and name not in OPENAPI_RULES), ""):
            return envelope(400, "VALIDATION_ERROR", f"Parameter '{mixed}' belongs to the other form of this call.")
        parts = [("", OPENAPI_RULES, body)]
        parts += [(f"{name}.", INSIDE[name], body[name]) for name in INSIDE if isinstance(body.get(name), dict)]
        required, lifetime = ["clientId", "tokenType"], "lifetime"
    else:
        parts, required, lifetime = [("", {**RULES, **DOCUMENTED_SINCE}, body)], ["clientId"], "expiryTime"
    for at, rules, values in parts:
        for name, value in values.items():
            rule = rules.get(name)
            if rule is None:
                return envelope(400, "VALIDATION_ERROR", f"Unknown parameter '{at}{name[:100]}'.")
            if not rule.allows(value):
                return envelope(400, "BAD_VALUE", f"Field '{at}{name}' must be {rule.text}.")
    for name in required:
        if name not in body:
            return envelope(400, "MISSING_VALUE", f"Field '{name}' is required.")
    if body.get("generateDigitString") and body.get(lifetime, DEFAULT_EXPIRY) > DEFAULT_EXPIRY:
        message = f"Field '{lifetime}' must be at most {DEFAULT_EXPIRY} with 'generateDigitString'."
        return envelope(400, "BAD_VALUE", message)
    if not nested and body.get("verifyBank") is False:
        for name in _BANK:
            if body.get(name):
                return envelope(400, "BAD_VALUE", f"Field '{name}' requires 'verifyBank'.")
    return None
