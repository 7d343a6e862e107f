"""iDenfy's KYC token call in the form of its OpenAPI document: the request and the answer.

Source: the document on the provider's page "Generate KYC token". It marks values that may be null as nullable.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from onboarding_sandbox.endpoints.idenfy_rules import (
    DATE,
    DEFAULT_EXPIRY,
    DEFAULT_SESSION_LENGTH,
    FLAG,
    Refused,
    Rule,
    strings,
    whole,
)
from onboarding_sandbox.endpoints.opened import ALPHA_2

# Parameters that only this form has: a call with one of them is of this form.
MARKS = ("client", "urls", "settings", "lifetime", "allowedCountries", "allowedDocuments")


def _text(most: int | None = None) -> Rule:
    words = "a string" if most is None else f"a string of at most {most} characters"
    return Rule(words, lambda value: isinstance(value, str) and (most is None or len(value) <= most))


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.text}, or null", lambda value: value is None or rule.allows(value))


def _parsed(words: str, parse: Callable[[str], Any]) -> Rule:
    def allows(value: Any) -> bool:
        try:
            return isinstance(value, str) and bool(parse(value))
        except ValueError:
            return False

    return Rule(words, allows)


def _a_uri(value: str) -> object:
    parts = urlsplit(value)
    return parts.scheme and parts.netloc and not re.search(r"[\s\x00-\x1f\x7f]", value)


_NULLABLE = _or_null(_text())
_DATE = _or_null(DATE)
_URI = _or_null(_parsed("a URI", _a_uri))

CLIENT: Mapping[str, Rule] = {
    "name": _or_null(_text(100)),
    "surname": _or_null(_text(100)),
    "dateOfBirth": _DATE,
    "nationality": _NULLABLE,
    "documentNumber": _or_null(_text(50)),
    "personalNumber": _or_null(_text(50)),
    "sex": _or_null(Rule("one of M, F", lambda value: value in ("M", "F"))),
    "dateOfExpiry": _DATE,
    "dateOfIssue": _NULLABLE,
}
URLS: Mapping[str, Rule] = dict.fromkeys(("successUrl", "failUrl", "unverifiedUrl", "webhookUrl"), _URI)
SETTINGS: Mapping[str, Rule] = {
    **dict.fromkeys(("verifyEmail", "verifyPhone", "verifyBank", "verifyBankAccounts", "verifyBankBalances"), FLAG),
    **dict.fromkeys(("verifyBankTransactions", "verifyPoaAddress", "showInstructions"), FLAG),
    **dict.fromkeys(("reviewFailedVerifications", "reviewSuccessfulVerifications"), FLAG),
}
_OBJECT = _or_null(Rule("an object", lambda value: isinstance(value, dict)))
RULES: Mapping[str, Rule] = {
    "clientId": _text(100),
    "tokenType": Rule("one of IDENTIFICATION, DOCUMENT", lambda value: value in ("IDENTIFICATION", "DOCUMENT")),
    "externalRef": _or_null(_text(40)),
    "generateDigitString": FLAG,
    "lifetime": whole(0, 2_592_000),
    "locale": _or_null(_text(7)),
    "sessionLength": whole(60, 3_600),
    "allowedCountries": _or_null(strings("a list of ISO 3166-1 alpha-2 codes", lambda one: one.upper() in ALPHA_2)),
    "allowedDocuments": _or_null(strings("a list of document types", bool)),
    "client": _OBJECT,
    "urls": _OBJECT,
    "settings": _OBJECT,
    "questionnaire": _NULLABLE,
    "questionnaireRequired": FLAG,
    "riskAssessmentProfile": _or_null(_parsed("a UUID", UUID)),
    "address": _NULLABLE,
}
INSIDE: Mapping[str, Mapping[str, Rule]] = {"client": CLIENT, "urls": URLS, "settings": SETTINGS}


def speaks(body: Mapping[str, Any]) -> bool:
    """Whether a call is of this form. A call with shared parameters only is of the narrative form."""
    return any(name in body for name in MARKS)


def check(body: Mapping[str, Any]) -> Refused | None:
    """The first thing wrong with the parameters, or None. An unknown one is refused: it is most likely misspelt."""
    parts = [("", RULES, body), *((f"{name}.", INSIDE[name], body.get(name) or {}) for name in INSIDE)]
    for at, rules, values in parts:
        for name, value in values.items() if isinstance(values, dict) else ():
            rule = rules.get(name)
            if rule is None:
                return Refused("VALIDATION_ERROR", f"Unknown parameter '{at}{name[:100]}'.")
            if not rule.allows(value):
                return Refused("BAD_VALUE", f"Field '{at}{name}' must be {rule.text}.")
    for name in ("clientId", "tokenType"):
        if name not in body:
            return Refused("MISSING_VALUE", f"Field '{name}' is required.")
    if body.get("generateDigitString") and body.get("lifetime", DEFAULT_EXPIRY) > DEFAULT_EXPIRY:
        message = f"Field 'lifetime' must be at most {DEFAULT_EXPIRY} with 'generateDigitString'."
        return Refused("BAD_VALUE", message)
    return None


def answer(
    body: Mapping[str, Any], *, token: str, scan_ref: str, expires_at: datetime, digits: str | None, url: str
) -> dict[str, Any]:
    """The answer's fields, as the document lists them."""
    return {
        "tokenString": token,
        "scanRef": scan_ref,
        "clientId": body["clientId"],
        "digitString": digits,
        "expiration": expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "isValid": True,
        "isActive": True,
        "tokenType": body["tokenType"],
        "externalRef": body.get("externalRef"),
        "locale": body.get("locale") or "en",
        "sessionLength": body.get("sessionLength", DEFAULT_SESSION_LENGTH),
        "sessionUrl": url,
    }
