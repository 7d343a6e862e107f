"""iDenfy's KYC token call in the form of its OpenAPI document: the request and the answer.

Source: the document on the provider's page "Generate KYC token". It marks values that may be null as nullable.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from onboarding_sandbox.endpoints.idenfy_rules import (
    DATE,
    DEFAULT_SESSION_LENGTH,
    FLAG,
    Rule,
    first_wrong,
    is_parsed,
    is_text,
    iso,
    or_null,
    strings,
    whole,
)
from onboarding_sandbox.endpoints.opened import ALPHA_2
from onboarding_sandbox.wire import Answer

# Parameters that only this form has: a call with one of them is of this form.
MARKS = ("client", "urls", "settings", "lifetime", "allowedCountries", "allowedDocuments")


def _text(most: int | None = None) -> Rule:
    return Rule("a string" if most is None else f"a string of at most {most} characters", is_text(0, most))


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.text}, or null", or_null(rule.allows))


def _parsed(words: str, parse: Callable[[str], Any]) -> Rule:
    return Rule(words, lambda value: is_parsed(value, parse))


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


def check(body: Mapping[str, Any]) -> Answer | None:
    """The refusal of the first thing that is wrong with the parameters, or None."""
    given = {name: body.get(name) or {} for name in INSIDE}
    inside = [(f"{name}.", INSIDE[name], values) for name, values in given.items() if isinstance(values, dict)]
    return first_wrong(body, ("", RULES, body), *inside, required=("clientId", "tokenType"), lifetime="lifetime")


def answer(
    body: Mapping[str, Any], *, token: str, scan_ref: str, expires_at: datetime, digits: str | None, url: str
) -> dict[str, Any]:
    """The answer's fields, as the document lists them."""
    return {
        "tokenString": token,
        "scanRef": scan_ref,
        "clientId": body["clientId"],
        "digitString": digits,
        "expiration": iso(expires_at),
        "isValid": True,
        "isActive": True,
        "tokenType": body["tokenType"],
        "externalRef": body.get("externalRef"),
        "locale": body.get("locale") or "en",
        "sessionLength": body.get("sessionLength", DEFAULT_SESSION_LENGTH),
        "sessionUrl": url,
    }
