"""Simulates iDenfy: the KYC token call in both its forms, the listing of a client's verifications, and KYB's call for a
form's token.

Sources: the provider's pages "Generate token" (narrative form) and "Generate KYC token" (the OpenAPI document), "List
identifications", and its pages on error messages. The parameters of a call show its form. Every successful call opens,
and charges, one more session. Where text and samples differ, the text counts: `nationality` is returned in upper case,
and `digitString` has 8 digits. `dummyStatus`, which is for development keys, is refused.

Of KYB: its page "Generate KYB form token", its OpenAPI document of the KYB API for the refusals, and its framework for
the texts about a single field. Each call makes another token; tokens cannot be listed.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from onboarding_sandbox import wire
from onboarding_sandbox.endpoints import idenfy_rules
from onboarding_sandbox.endpoints.idenfy_rules import Allows, Rule, envelope, is_parsed, is_text, iso, or_null
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import Answer, Call, Endpoint, is_json, read_json, read_object, text_or_none

REDIRECT = "https://ivs.idenfy.com/api/v2/redirect?authToken="
PER_PAGE = 10  # the default; the provider documents none
PER_PAGE_MOST = 100

# The keys of the sample answer on the page, in its order, with their values if the request has none.
PRINTED: dict[str, Any] = {
    "message": "Token created successfully",
    **dict.fromkeys(("authToken", "scanRef", "clientId", "firstName", "lastName")),
    **dict.fromkeys(("successUrl", "errorUrl", "unverifiedUrl", "callbackUrl")),
    "locale": "en",
    "showInstructions": True,
    "country": [],
    "expiryTime": idenfy_rules.DEFAULT_EXPIRY,
    "sessionLength": idenfy_rules.DEFAULT_SESSION_LENGTH,
    "documents": ["ID_CARD", "PASSPORT", "DRIVER_LICENSE", "RESIDENCE_PERMIT"],
    "allowedDocuments": {"ALL": ["ID_CARD", "PASSPORT", "DRIVER_LICENSE", "RESIDENCE_PERMIT"]},
    **dict.fromkeys(("dateOfBirth", "dateOfExpiry", "dateOfIssue", "nationality", "personalNumber")),
    **dict.fromkeys(("documentNumber", "sex", "digitString", "address")),
    "tokenType": "IDENTIFICATION",
    **dict.fromkeys(("externalRef", "questionnaire")),
    "utilityBill": False,
    **dict.fromkeys(("additionalSteps", "additionalData", "riskAssessmentProfile")),
}
UPPERCASED = ("firstName", "lastName", "nationality")


REFUSALS: dict[int, tuple[str | None, str]] = {
    400: ("TOO_MANY_REQUESTS", "Requests per hour limit has been reached."),
    401: (None, "Invalid API key or secret."),
    402: (None, "Insufficient funds."),
    403: (None, "Partner inactive."),
    404: (None, "Not found."),
    405: ("METHOD_NOT_ALLOWED", "Wrong HTTP method."),
    408: (None, "Request timed out."),
    429: ("TOO_MANY_REQUESTS", "Requests per hour limit has been reached."),
    500: ("INTERNAL_ERROR", "Unhandled internal error."),
    503: (None, "Service unavailable."),
}


@dataclass(slots=True)
class KycSession:
    scan_ref: str
    expires_at: datetime
    overall: str = ""  # empty until the customer has done something

    def status(self, now: datetime) -> str:
        return self.overall or ("ACTIVE" if now < self.expires_at else "EXPIRED")


class Partner:
    """One iDenfy account: its credits and sessions, shared by its endpoints."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.sessions: dict[str, list[KycSession]] = {}
        self.charged = 0

    def decide(self, client: str, scan_ref: str, overall: str) -> None:
        """Set the status of the session in the listing."""
        for session in self.sessions.get(client, ()):
            if session.scan_ref == scan_ref:
                session.overall = overall


class IdenfyEndpoint(Endpoint):
    """What its calls have in common: the log-in, refusals, and the JSON object of a body."""

    family = "idenfy"
    not_utf8 = ("JSON_ERROR", "Malformed JSON body.")

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        options = partner.options
        self._expected = base64.b64encode(f"{options.idenfy_key}:{options.idenfy_secret}".encode()).decode()

    def reset(self) -> None:
        self._partner.sessions.clear()
        self._partner.charged = 0

    def credential(self, call: Call) -> str | Answer:
        scheme, _, given = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic" and given.strip() == self._expected:
            return self._partner.options.idenfy_key
        return envelope(401, *REFUSALS[401])

    def refusal(self, status: int) -> Answer:
        if status in REFUSALS:
            return envelope(status, *REFUSALS[status])
        # A gateway in front of the API answers these, not the API.
        return Answer(status, f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>")

    def body_of(self, call: Call) -> dict[str, Any] | Answer:
        """The body, or its refusal."""
        if not is_json(call.headers):
            return envelope(400, "VALIDATION_ERROR", "Content-Type must be application/json.")
        try:
            body = read_json(call.body)
        except UnicodeDecodeError:
            return envelope(400, *self.not_utf8)
        except ValueError:
            return envelope(400, "JSON_ERROR", "Malformed JSON body.")
        return body if isinstance(body, dict) else envelope(400, "VALIDATION_ERROR", "Body must be a JSON object.")


class KycToken(IdenfyEndpoint):
    """POST /api/v2/token."""

    name = wire.IDENFY_KYC
    route = "/idenfy/api/v2/token"
    not_utf8 = ("ENCODING_ERROR", "Body is not valid UTF-8.")

    def client(self, call: Call) -> str | None:
        body = read_object(call.body)
        return text_or_none(body.get("clientId", body.get("personScanRef")))

    def answer(self, call: Call) -> Answer:
        body = self.body_of(call)
        if isinstance(body, Answer):
            return body
        if "dummyStatus" in body:
            # Documented for development keys only.
            return envelope(400, "PERMISSIONS_ERROR", "This endpoint is not available for this environment.")
        if "personScanRef" in body:
            legacy = body.pop("personScanRef")
            body.setdefault("clientId", legacy)
        if (wrong := idenfy_rules.check(body)) is not None:
            return wrong
        options = self._partner.options
        if options.credits is not None and self._partner.charged >= options.credits:
            return envelope(400, "PERMISSIONS_ERROR", "Partner reached token limit. Contact sales to raise it.")
        sessions = self._partner.sessions.setdefault(body["clientId"], [])
        if options.conflict and any(one.status(call.now) == "ACTIVE" for one in sessions):
            return envelope(409, "TOKEN_NOT_VALID", "An active verification session exists for this clientId.")
        return self._open(body, call.now, sessions)

    def _open(self, body: dict[str, Any], now: datetime, sessions: list[KycSession]) -> Answer:
        token, scan_ref, nested = secrets.token_hex(20), str(uuid4()), idenfy_rules.is_openapi(body)
        expires_at = now + timedelta(
            seconds=body.get("lifetime" if nested else "expiryTime", idenfy_rules.DEFAULT_EXPIRY)
        )
        digits = f"{secrets.randbelow(10**8):08d}" if body.get("generateDigitString") else None
        if nested:
            # As the OpenAPI document lists them.
            printed = {
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
                "sessionLength": body.get("sessionLength", idenfy_rules.DEFAULT_SESSION_LENGTH),
                "sessionUrl": REDIRECT + token,
            }
        else:
            printed = {**PRINTED, **body, "authToken": token, "scanRef": scan_ref, "digitString": digits}
            printed |= {name: printed[name].upper() for name in UPPERCASED if printed[name] is not None}
            # On the provider's other pages, not in the printed sample.
            printed["redirectUrl"] = REDIRECT + token
        sessions.append(KycSession(scan_ref, expires_at))
        self._partner.charged += 1
        return Answer(201, printed, processed=True, reference=scan_ref, token=token)


class KycListing(IdenfyEndpoint):
    """GET /kyc/identifications/: a client's verifications, newest first. Without tokens and times, as documented."""

    name = wire.IDENFY_KYC_LIST
    method = "GET"
    route = "/idenfy/kyc/identifications/"

    def client(self, call: Call) -> str | None:
        return call.query.get("clientId")

    def answer(self, call: Call) -> Answer:
        client = self.client(call)
        try:
            page = _whole(call, "page", 1, 10**9)
            size = min(_whole(call, "perPage", PER_PAGE, 10**9), PER_PAGE_MOST)
        except ValueError as error:
            return envelope(400, "BAD_VALUE", str(error))
        sessions = self._partner.sessions
        if client is None:
            found = [one for several in sessions.values() for one in several]
        else:
            found = sessions.get(client, [])
        shown = found[::-1][(page - 1) * size : page * size]
        body = {
            "count": len(found),
            "next": _link(call, page + 1, size) if page * size < len(found) else None,
            "previous": _link(call, page - 1, size) if page > 1 else None,
            "results": [{"scanRef": one.scan_ref, "status": one.status(call.now), "suspected": False} for one in shown],
        }
        return Answer(200, body)


def _whole(call: Call, name: str, default: int, most: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise ValueError(f"Field '{name}' must be a positive integer.")
    return int(text)


def _link(call: Call, page: int, size: int) -> str:
    query = {**call.query, "page": str(page), "perPage": str(size)}
    return f"{call.url.partition('?')[0]}?{urlencode(query)}"


DEFAULT_LIFETIME = 3_600  # seconds
LOCALES = ("en", "es", "fr", "ru", "de", "it", "pl", "lt", "lv", "et", "cs", "ro", "hu", "ja", "bg", "nl", "pt")


def _choice(*values: str) -> Rule:
    return Rule("Not a valid choice.", lambda value: value in values)


def _strings(most: int, count: int | None = None) -> Allows:
    item = is_text(1, most)
    return lambda value: (
        isinstance(value, list)
        and (count is None or len(value) <= count)
        and all(item(one) and "," not in one for one in value)
    )


_UUID = Rule("Must be a valid UUID.", or_null(lambda value: is_parsed(value, UUID)))
# The texts are those of the framework.
FIELDS: Mapping[str, Rule] = {
    "tokenType": _choice("FORM", "GOV1", "GOV2"),
    "clientId": Rule("Ensure this field has 1 to 100 characters.", is_text(1, 100)),
    "lifetime": Rule(
        "Ensure this value is an integer from 0 to 2592000.",
        lambda value: type(value) is int and 0 <= value <= 2_592_000,
    ),
    "externalRef": Rule("Ensure this field has no more than 40 characters.", or_null(is_text(0, 40))),
    "locale": _choice(*LOCALES),
    "flow": _UUID,
    "theme": _UUID,
    "questionnaire": Rule("This field may not be blank.", or_null(is_text(1))),
    "questionnaireRequired": Rule("Must be a valid boolean.", lambda value: isinstance(value, bool)),
    "tags": Rule("Ensure at most 5 tags of 1 to 32 characters without a comma.", _strings(32, 5)),
    "scanRefs": Rule("Ensure items of 1 to 40 characters without a comma.", or_null(_strings(40))),
}


class KybToken(IdenfyEndpoint):
    """POST /kyb/tokens/, with the final slash."""

    name = wire.IDENFY_KYB
    route = "/idenfy/kyb/tokens/"

    def reset(self) -> None:
        """Nothing to clear: forms are not stored."""

    def credential(self, call: Call) -> str | Answer:
        credential = super().credential(call)
        if isinstance(credential, str):
            return credential
        # The KYB pages have their own form of this error: its message is an object.
        message = {"detail": "Invalid API key or secret.", "completed": False}
        return Answer(401, {"identifier": "AUTHENTICATION_FAILED", "message": message, "severity": "NOT_SEVERE"})

    def client(self, call: Call) -> str | None:
        return text_or_none(read_object(call.body).get("clientId"))

    def answer(self, call: Call) -> Answer:
        body = self.body_of(call)
        if isinstance(body, Answer):
            return body
        wrong = {name: ["Unknown field."] for name in body if name not in FIELDS}
        wrong |= {name: [rule.text] for name, rule in FIELDS.items() if name in body and not rule.allows(body[name])}
        wrong |= {name: ["This field is required."] for name in ("tokenType", "clientId") if name not in body}
        if wrong:
            return Answer(400, wrong)
        if body["tokenType"] != "FORM":
            # The other two types have a body that is not documented.
            return envelope(400, "VALIDATION_ERROR", "Only form tokens are simulated here.")
        token = secrets.token_hex(20)
        printed = {
            "tokenType": body["tokenType"],
            "tokenString": token,
            "expiration": iso(call.now + timedelta(seconds=body.get("lifetime", DEFAULT_LIFETIME))),
            "isActive": True,
            "isValid": True,
            "companyId": None,  # until the company has filled in the form
            "clientId": body["clientId"],
            "externalRef": body.get("externalRef"),
            "locale": body.get("locale", "en"),
            **{name: body.get(name) for name in ("flow", "theme")},
            "tags": body.get("tags", []),
            "scanRefs": body.get("scanRefs"),
        }
        return Answer(201, printed, processed=True, reference=body.get("externalRef"), token=token)
