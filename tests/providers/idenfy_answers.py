"""Answers of iDenfy's endpoints (providers.md 3.5, 4.4 and 5.6, and the samples on its pages)."""

from collections.abc import Mapping
from typing import Any

from onboarding_testing.accounts import HTML, Bad, answer
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.providers.contract import HttpAnswer


def idenfy_error(status: int, identifier: str | None, message: Any, **more: Any) -> HttpAnswer:
    named = {} if identifier is None else {"identifier": identifier}
    return answer(status, {**named, "message": message, **more})


IDENFY_OPENED = {
    "message": "Token created successfully",
    "authToken": "T7hK2pWq9sT7hK2pWq9s",
    "scanRef": "a1c3e5f7-0000-11ee-8d55-123456789abc",
    "clientId": "C-88123",
    "firstName": "AOIFE",
    "expiryTime": 259200,
    "sessionLength": 1200,
    "digitString": None,
    "redirectUrl": "https://ivs.idenfy.com/api/v2/redirect?authToken=T7hK2pWq9sT7hK2pWq9s",
}
NO_CREDIT = "Partner reached token limit. Contact sales to raise it."
IDENFY_BAD = {
    "TOO_MANY_REQUESTS as 400": Bad(
        idenfy_error(400, "TOO_MANY_REQUESTS", "Requests per hour limit."), Kind.RATE_LIMITED, "TOO_MANY_REQUESTS"
    ),
    "TOO_MANY_REQUESTS as 429": Bad(
        idenfy_error(429, "TOO_MANY_REQUESTS", "Slow down."), Kind.RATE_LIMITED, "TOO_MANY_REQUESTS", "Slow down."
    ),
    "429 of a gateway": Bad(answer(429, HTML), Kind.RATE_LIMITED),
    "401": Bad(idenfy_error(401, None, "Invalid API key or secret."), Kind.AUTH, None, "Invalid API key or secret."),
    "401 without a body": Bad(answer(401), Kind.AUTH),
    "UNAUTHORIZED as 400": Bad(idenfy_error(400, "UNAUTHORIZED", "No."), Kind.AUTH, "UNAUTHORIZED"),
    "AUTHENTICATION_FAILED": Bad(
        idenfy_error(401, "AUTHENTICATION_FAILED", {"detail": "Bad key.", "completed": False}, severity="SEVERE"),
        Kind.AUTH,
        "AUTHENTICATION_FAILED",
        "Bad key.",
    ),
    "403": Bad(idenfy_error(403, None, "Partner inactive."), Kind.AUTH, None, "Partner inactive."),
    "402": Bad(idenfy_error(402, None, "Insufficient funds."), Kind.OUT_OF_CREDIT, None, "Insufficient funds."),
    "token limit": Bad(idenfy_error(400, "PERMISSIONS_ERROR", NO_CREDIT), Kind.OUT_OF_CREDIT, "PERMISSIONS_ERROR"),
    "token limit as 403": Bad(idenfy_error(403, "PERMISSIONS_ERROR", NO_CREDIT), Kind.OUT_OF_CREDIT),
    "token limit without identifier": Bad(idenfy_error(400, None, NO_CREDIT), Kind.OUT_OF_CREDIT),
    "dummyStatus": Bad(
        idenfy_error(400, "PERMISSIONS_ERROR", "This endpoint is not available for this environment."),
        Kind.AUTH,
        "PERMISSIONS_ERROR",
        "not available",
    ),
    "PERMISSIONS_ERROR": Bad(idenfy_error(400, "PERMISSIONS_ERROR", "Missing: review_failed_edit."), Kind.AUTH),
    "PARTNER_CONTRACT_ERROR": Bad(idenfy_error(400, "PARTNER_CONTRACT_ERROR", "No AML."), Kind.AUTH),
    "INTERNAL_ERROR": Bad(idenfy_error(500, "INTERNAL_ERROR", "Unhandled."), Kind.TRANSIENT, "INTERNAL_ERROR"),
    "INTERNAL_ERROR as 400": Bad(idenfy_error(400, "INTERNAL_ERROR", "Unhandled."), Kind.TRANSIENT),
    "500": Bad(answer(500, HTML), Kind.TRANSIENT),
    "503": Bad(answer(503, HTML), Kind.TRANSIENT),
    "BAD_VALUE": Bad(
        idenfy_error(400, "BAD_VALUE", "Field 'sessionLength' must be an integer."),
        Kind.BAD_INPUT,
        "BAD_VALUE",
        "Field 'sessionLength' must be an integer.",
    ),
    "MISSING_VALUE": Bad(idenfy_error(400, "MISSING_VALUE", "clientId"), Kind.BAD_INPUT, "MISSING_VALUE"),
    "VALIDATION_ERROR": Bad(idenfy_error(400, "VALIDATION_ERROR", "x"), Kind.BAD_INPUT, "VALIDATION_ERROR"),
    "JSON_ERROR": Bad(idenfy_error(400, "JSON_ERROR", "x"), Kind.BAD_INPUT, "JSON_ERROR"),
    "ENCODING_ERROR": Bad(idenfy_error(400, "ENCODING_ERROR", "x"), Kind.BAD_INPUT, "ENCODING_ERROR"),
    "METHOD_NOT_ALLOWED": Bad(idenfy_error(405, "METHOD_NOT_ALLOWED", "x"), Kind.AUTH, "METHOD_NOT_ALLOWED"),
    "404": Bad(answer(404, HTML), Kind.AUTH),
    "405": Bad(answer(405), Kind.AUTH),
    "400 of the framework": Bad(answer(400, {"locale": ["Not a language."]}), Kind.BAD_INPUT, None, "Not a language."),
    "400 without identifier": Bad(idenfy_error(400, None, "No."), Kind.BAD_INPUT, None, "No."),
    "400 with an identifier of tomorrow": Bad(
        idenfy_error(400, "NEW_ERROR", "x"), Kind.BAD_INPUT, None, "NEW_ERROR: x"
    ),
    "422": Bad(answer(422), Kind.BAD_INPUT),
    "409": Bad(idenfy_error(409, None, "Active session."), Kind.CONFLICT),
    "TOKEN_NOT_VALID": Bad(idenfy_error(400, "TOKEN_NOT_VALID", "Active session."), Kind.CONFLICT, "TOKEN_NOT_VALID"),
    "redirect": Bad(answer(307, location="https://ivs.idenfy.com/other/"), Kind.AUTH),
    "408": Bad(answer(408), Kind.UNKNOWN),
    "502": Bad(answer(502, HTML), Kind.UNKNOWN),
    "504": Bad(answer(504, HTML), Kind.UNKNOWN),
    "504 that names an error": Bad(idenfy_error(504, "INTERNAL_ERROR", "Unhandled."), Kind.UNKNOWN),
    "520 of a gateway": Bad(answer(520, HTML), Kind.UNKNOWN),
    "html": Bad(answer(200, HTML), Kind.UNKNOWN, None, "not JSON"),
    "empty": Bad(answer(201), Kind.UNKNOWN),
    "no token": Bad(answer(201, {**IDENFY_OPENED, "authToken": None}), Kind.UNKNOWN, None, "no authToken"),
    "no reference": Bad(answer(201, {**IDENFY_OPENED, "scanRef": ""}), Kind.UNKNOWN, None, "no scanRef"),
    "a token that is a number": Bad(
        answer(201, {**IDENFY_OPENED, "authToken": 12345}),
        Kind.UNKNOWN,
        None,
        "authToken in the answer is not a string",
    ),
    "a token of another kind": Bad(
        answer(201, {**IDENFY_OPENED, "tokenType": "DOCUMENT"}), Kind.UNKNOWN, None, "tokenType in the answer"
    ),
    "an error as 200": Bad(idenfy_error(200, "BAD_VALUE", "x"), Kind.UNKNOWN),
}


# All of iDenfy's endpoints have the same error answers; only the answers that open a session differ.
IDENFY_REFUSES = {name: bad for name, bad in IDENFY_BAD.items() if not 200 <= bad.answer.status < 300}

OPENAPI_OPENED = {
    "tokenString": "qL8vX2mNqL8vX2mNqL8v",
    "scanRef": "f3a9c2de-1b77-4e0a-9e55-000000000042",
    "clientId": "C-88123",
    "digitString": None,
    "expiration": "2026-11-22T08:00:00Z",
    "isValid": True,
    "isActive": True,
    "tokenType": "IDENTIFICATION",
    "externalRef": "c0ffee00aa11",
    "sessionUrl": "https://ivs.idenfy.com/api/v2/redirect?authToken=qL8vX2mNqL8vX2mNqL8v",
}
KYB_OPENED = {
    "tokenType": "FORM",
    "tokenString": "Zk3uQ0aYtBZk3uQ0aYtB",
    "expiration": "2026-11-27T08:00:00Z",
    "isActive": True,
    "isValid": True,
    "companyId": None,
    "clientId": "ORG-7710",
    "externalRef": "8f1d0b7c2e5a4c0f9a",
    "locale": "lt",
    "flow": None,
    "theme": None,
    "tags": ["q3-import"],
    "scanRefs": None,
}


def spoilt_tokens(opened: Mapping[str, Any]) -> dict[str, Bad]:
    """Answers of the two endpoints with `tokenString` that open no session."""
    unknown_call: dict[str, tuple[Any, str]] = {
        "no token": ({"tokenString": None}, "the answer has no "),
        "a token that is an object": ({"tokenString": {"value": "t"}}, "tokenString in the answer is not a string"),
        "a token of another kind": ({"tokenType": "GOV1"}, "tokenType in the answer is not the one asked for"),
        "an expiry in the past": ({"expiration": "2026-11-20T07:59:59Z"}, "has already expired"),
        "an expiry at once": ({"expiration": "2026-11-20T08:00:00+00:00"}, "has already expired"),
    }
    bad = {
        name: Bad(answer(201, {**opened, **fields}), Kind.UNKNOWN, None, says)
        for name, (fields, says) in unknown_call.items()
    }
    bad["html"] = Bad(answer(200, HTML), Kind.UNKNOWN, None, "not JSON")
    bad["empty"] = Bad(answer(201), Kind.UNKNOWN)
    bad["not valid"] = Bad(answer(201, {**opened, "isValid": False}), Kind.TRANSIENT, None, "marked as not valid")
    return bad
