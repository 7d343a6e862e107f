"""The 58 parameters of iDenfy's KYC token call in its narrative form, and what each may be.

Source: the provider's page "Generate token" (narrative form). The document type names, the parameters in
DOCUMENTED_SINCE and the angle brackets that names may not hold are from the provider's other pages.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from onboarding_sandbox.endpoints.opened import ALPHA_2

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


@dataclass(frozen=True)
class Rule:
    """The rule of a parameter: a text for the refusal, and a check."""

    text: str
    allows: Callable[[Any], bool]


def _text(least: int, most: int, *, ascii_only: bool = False) -> Rule:
    words = f"a string of {least} to {most} {'ASCII ' if ascii_only else ''}characters"
    return Rule(
        words,
        lambda value: isinstance(value, str) and least <= len(value) <= most and (value.isascii() or not ascii_only),
    )


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


def _is_date(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_https(value: Any) -> bool:
    if not isinstance(value, str) or not 5 <= len(value) <= 2048 or re.search(r"[\s\x00-\x1f\x7f]", value):
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
    return value is None or (
        isinstance(value, dict)
        and all(
            isinstance(fields, dict) and all(isinstance(one, str) for one in fields.values())
            for fields in value.values()
        )
    )


def _is_profile(value: Any) -> bool:
    # The page's table says integer, its sample answer shows a UUID.
    return type(value) is int or _is_uuid(value)


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


CLIENT_ID = _text(1, 100, ascii_only=True)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_NAME = Rule("a name of 1 to 100 letters, without digits and special characters", _is_name)
DATE = Rule("a date, YYYY-MM-DD", _is_date)
_URL = Rule("an https URL of 5 to 2048 characters", _is_https)

RULES: Mapping[str, Rule] = {
    "clientId": CLIENT_ID,
    "firstName": _NAME,
    "lastName": _NAME,
    "dateOfBirth": DATE,
    "sex": _choice("M", "F"),
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
    "successUrl": _URL,
    "errorUrl": _URL,
    "unverifiedUrl": _URL,
    "callbackUrl": _URL,
    # The length is from the OpenAPI form of the same call; an unknown language is answered in English, not refused.
    "locale": Rule(
        "a two-letter language code",
        lambda value: (
            isinstance(value, str) and len(value) <= 7 and bool(re.fullmatch(r"[A-Za-z]{2}([-_][A-Za-z]{2,4})?", value))
        ),
    ),
    "expiryTime": whole(1, 2_592_000),
    "sessionLength": whole(60, 3_600),
    "tokenType": _choice("IDENTIFICATION", "DOCUMENT"),
    **dict.fromkeys(("showInstructions", "generateDigitString", "reviewFailed", "reviewSuccessful"), FLAG),
    **dict.fromkeys(("verifyEmail", "verifyPhone", "verifyAddress", "verifyBank"), FLAG),
    **dict.fromkeys(("verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions"), FLAG),
    **dict.fromkeys(("nfcRequired", "nfcOptional", "driverLicenseBack", "checkDriverLicense"), FLAG),
    "ageLimit": whole(1),
    "ageMax": whole(1),
    **dict.fromkeys(("idLiveFaceValidation", "idLiveDocumentValidation", "checkLiveness"), FLAG),
    **dict.fromkeys(("autoFaceMatching", "checkBlurAndGlare", "checkAml", "checkIpProxy"), FLAG),
    **dict.fromkeys(("checkFaceBlacklist", "checkDocFaceBlacklist", "checkDuplicateFaces"), FLAG),
    **dict.fromkeys(("checkDuplicateDocFaces", "checkDuplicatePersonalData"), FLAG),
    "registryCentersCountries": strings("a list of country codes", _is_country),
    "additionalSteps": Rule("an object or null", lambda value: value is None or isinstance(value, dict)),
    "additionalData": Rule("null, or an object of objects of strings", _is_data_of_steps),
    "utilityBill": FLAG,
    "questionnaire": Rule(
        "the key of a questionnaire, or null", lambda value: value is None or (isinstance(value, str) and value != "")
    ),
    "questionnaireRequired": FLAG,
    "riskAssessmentProfile": Rule("the id of a profile: an integer or a UUID", _is_profile),
}

# Not on the page, but in the provider's OpenAPI document of 2026-09.
DOCUMENTED_SINCE: Mapping[str, Rule] = {
    "theme": Rule("a UUID", _is_uuid),
    **dict.fromkeys(("bankCardVerification", "bankCardPdfUpload", "checkCriminal", "checkPersonBlacklist"), FLAG),
    **dict.fromkeys(("checkLid", "allowBsnMasking", "autoAmlMonitoring"), FLAG),
    "faceMatchingThresholdModifier": Rule(
        "a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    ),
}
_ALL_RULES = {**RULES, **DOCUMENTED_SINCE}


@dataclass(frozen=True)
class Refused:
    """Why a body is refused: the provider's identifier, and a text that names the parameter, never its value."""

    identifier: str
    message: str


def check(body: Mapping[str, Any]) -> Refused | None:
    """The first thing wrong with the parameters, or None."""
    for name, value in body.items():
        rule = _ALL_RULES.get(name)
        if rule is None:
            return Refused("VALIDATION_ERROR", f"Unknown parameter '{name[:100]}'.")
        if not rule.allows(value):
            return Refused("BAD_VALUE", f"Field '{name}' must be {rule.text}.")
    if "clientId" not in body:
        return Refused("MISSING_VALUE", "Field 'clientId' is required.")
    if body.get("generateDigitString") and body.get("expiryTime", DEFAULT_EXPIRY) > DEFAULT_EXPIRY:
        message = f"Field 'expiryTime' must be at most {DEFAULT_EXPIRY} with 'generateDigitString'."
        return Refused("BAD_VALUE", message)
    if body.get("verifyBank") is False:
        for name in ("verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions"):
            if body.get(name):
                return Refused("BAD_VALUE", f"Field '{name}' requires 'verifyBank'.")
    return None
