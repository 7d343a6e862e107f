"""The endpoints that the contract suite runs over, each with its own table of answers.

A new endpoint is one more entry in ENDPOINTS. Sources of the answers: providers.md 0.3, 1.6 and 5.6, and the
samples printed on the providers' pages.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from worker.endings import Kind
from worker.providers.contract import HttpAnswer, Provider
from worker.providers.fake import FakeHttp, FakeProvider
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyc import IdenfyKyc

from .accounts import PlainSecret, frankie_account, idenfy_account

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Bad:
    """An answer that opens no session: its kind, and the provider's code and words that must be kept."""

    answer: HttpAnswer
    kind: Kind
    code: str | None = None
    says: str = ""


@dataclass(frozen=True)
class Endpoint:
    make: Callable[..., Provider]
    opened: HttpAnswer
    token: str
    reference: str
    lives: timedelta  # from `accounts.NOW`, with `opened`
    bad: Mapping[str, Bad]
    broken_after_sending: Kind
    repeatable: bool


def idenfy_says(status: int, identifier: str | None, message: Any, **more: Any) -> HttpAnswer:
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
        idenfy_says(400, "TOO_MANY_REQUESTS", "Requests per hour limit."), Kind.RATE_LIMITED, "TOO_MANY_REQUESTS"
    ),
    "TOO_MANY_REQUESTS as 429": Bad(
        idenfy_says(429, "TOO_MANY_REQUESTS", "Slow down."), Kind.RATE_LIMITED, "TOO_MANY_REQUESTS", "Slow down."
    ),
    "429 of a gateway": Bad(answer(429, HTML), Kind.RATE_LIMITED),
    "401": Bad(idenfy_says(401, None, "Invalid API key or secret."), Kind.AUTH, None, "Invalid API key or secret."),
    "401 without a body": Bad(answer(401), Kind.AUTH),
    "UNAUTHORIZED as 400": Bad(idenfy_says(400, "UNAUTHORIZED", "No."), Kind.AUTH, "UNAUTHORIZED"),
    "AUTHENTICATION_FAILED": Bad(
        idenfy_says(401, "AUTHENTICATION_FAILED", {"detail": "Bad key.", "completed": False}, severity="SEVERE"),
        Kind.AUTH,
        "AUTHENTICATION_FAILED",
        "Bad key.",
    ),
    "403": Bad(idenfy_says(403, None, "Partner inactive."), Kind.AUTH, None, "Partner inactive."),
    "402": Bad(idenfy_says(402, None, "Insufficient funds."), Kind.OUT_OF_CREDIT, None, "Insufficient funds."),
    "token limit": Bad(idenfy_says(400, "PERMISSIONS_ERROR", NO_CREDIT), Kind.OUT_OF_CREDIT, "PERMISSIONS_ERROR"),
    "token limit as 403": Bad(idenfy_says(403, "PERMISSIONS_ERROR", NO_CREDIT), Kind.OUT_OF_CREDIT),
    "token limit without identifier": Bad(idenfy_says(400, None, NO_CREDIT), Kind.OUT_OF_CREDIT),
    "dummyStatus": Bad(
        idenfy_says(400, "PERMISSIONS_ERROR", "This endpoint is not available for this environment."),
        Kind.AUTH,
        "PERMISSIONS_ERROR",
        "not available",
    ),
    "PERMISSIONS_ERROR": Bad(idenfy_says(400, "PERMISSIONS_ERROR", "Missing: review_failed_edit."), Kind.AUTH),
    "PARTNER_CONTRACT_ERROR": Bad(idenfy_says(400, "PARTNER_CONTRACT_ERROR", "No AML."), Kind.AUTH),
    "INTERNAL_ERROR": Bad(idenfy_says(500, "INTERNAL_ERROR", "Unhandled."), Kind.TRANSIENT, "INTERNAL_ERROR"),
    "INTERNAL_ERROR as 400": Bad(idenfy_says(400, "INTERNAL_ERROR", "Unhandled."), Kind.TRANSIENT),
    "500": Bad(answer(500, HTML), Kind.TRANSIENT),
    "503": Bad(answer(503, HTML), Kind.TRANSIENT),
    "BAD_VALUE": Bad(
        idenfy_says(400, "BAD_VALUE", "Field 'sessionLength' must be an integer."),
        Kind.BAD_INPUT,
        "BAD_VALUE",
        "Field 'sessionLength' must be an integer.",
    ),
    "MISSING_VALUE": Bad(idenfy_says(400, "MISSING_VALUE", "clientId"), Kind.BAD_INPUT, "MISSING_VALUE"),
    "VALIDATION_ERROR": Bad(idenfy_says(400, "VALIDATION_ERROR", "x"), Kind.BAD_INPUT, "VALIDATION_ERROR"),
    "JSON_ERROR": Bad(idenfy_says(400, "JSON_ERROR", "x"), Kind.BAD_INPUT, "JSON_ERROR"),
    "ENCODING_ERROR": Bad(idenfy_says(400, "ENCODING_ERROR", "x"), Kind.BAD_INPUT, "ENCODING_ERROR"),
    "METHOD_NOT_ALLOWED": Bad(idenfy_says(405, "METHOD_NOT_ALLOWED", "x"), Kind.AUTH, "METHOD_NOT_ALLOWED"),
    "404": Bad(answer(404, HTML), Kind.AUTH),
    "405": Bad(answer(405), Kind.AUTH),
    "400 of the framework": Bad(answer(400, {"locale": ["Not a language."]}), Kind.BAD_INPUT, None, "Not a language."),
    "400 without identifier": Bad(idenfy_says(400, None, "No."), Kind.BAD_INPUT, None, "No."),
    "400 with an identifier of tomorrow": Bad(idenfy_says(400, "NEW_ERROR", "x"), Kind.BAD_INPUT, "NEW_ERROR"),
    "422": Bad(answer(422), Kind.BAD_INPUT),
    "409": Bad(idenfy_says(409, None, "Active session."), Kind.CONFLICT),
    "TOKEN_NOT_VALID": Bad(idenfy_says(400, "TOKEN_NOT_VALID", "Active session."), Kind.CONFLICT, "TOKEN_NOT_VALID"),
    "redirect": Bad(answer(307, location="https://ivs.idenfy.com/other/"), Kind.AUTH),
    "408": Bad(answer(408), Kind.UNKNOWN),
    "502": Bad(answer(502, HTML), Kind.UNKNOWN),
    "504": Bad(answer(504, HTML), Kind.UNKNOWN),
    "504 that names an error": Bad(idenfy_says(504, "INTERNAL_ERROR", "Unhandled."), Kind.UNKNOWN),
    "520 of a gateway": Bad(answer(520, HTML), Kind.UNKNOWN),
    "html": Bad(answer(200, HTML), Kind.UNKNOWN, None, "not JSON"),
    "empty": Bad(answer(201), Kind.UNKNOWN),
    "no token": Bad(answer(201, {**IDENFY_OPENED, "authToken": None}), Kind.UNKNOWN, None, "no authToken"),
    "no reference": Bad(answer(201, {**IDENFY_OPENED, "scanRef": ""}), Kind.UNKNOWN, None, "no scanRef"),
    "an error as 200": Bad(idenfy_says(200, "BAD_VALUE", "x"), Kind.UNKNOWN),
}


def frankie_says(status: int, code: str | None, message: str, *issues: tuple[str, str], **more: Any) -> HttpAnswer:
    details = [{"issueLocation": location, "issue": issue} for location, issue in issues]
    named = {} if code is None else {"errorCode": code}
    return answer(status, {**named, "errorMsg": message, "details": details, "requestId": "01HM5XJ7VA", **more})


FRANKIE_OPENED = {
    "applicantId": "ap_71f0",
    "provider": "onfido",
    "smsSent": False,
    "token": "tk_5d0e8b31Kx9wTq4Zr7nB",
    "tokenExpiry": "2026-11-20T09:30:00.000Z",
    "vendorParameters": {"tokenURL": "example1.com"},
    "requestId": "01JZX0Q2M7T4N8YB6C3D5F9HKV",
}
FRANKIE_BAD = {
    "bad entity": Bad(
        frankie_says(
            400,
            "API-0400,",
            "Multiple Errors: See Issues list",
            ("VALIDATE-entityId", 'entityId in path must be of type uuid: "test"'),
        ),
        Kind.BAD_INPUT,
        "API-0400",
        "Multiple Errors: See Issues list (VALIDATE-entityId: entityId in path",
    ),
    "bad key": Bad(
        frankie_says(401, "AUTH-0002,", "Unauthorized", ("request", "Invalid Authentication provided.")),
        Kind.AUTH,
        "AUTH-0002",
        "Invalid Authentication provided.",
    ),
    "no key": Bad(frankie_says(401, "AUTH-0401", "Unauthorized"), Kind.AUTH, "AUTH-0401", "Unauthorized"),
    "401 without a body": Bad(answer(401), Kind.AUTH),
    "AUTH as 500": Bad(frankie_says(500, "AUTH-0500", "x"), Kind.AUTH, "AUTH-0500"),
    "AUTH as 400": Bad(frankie_says(400, "AUTH-0001", "x"), Kind.AUTH),
    "403 with AUTH": Bad(frankie_says(403, "AUTH-0403", "Forbidden"), Kind.AUTH),
    "403 without a code": Bad(answer(403, HTML), Kind.AUTH),
    "403 of another kind": Bad(frankie_says(403, "VAL-0403", "http is not allowed"), Kind.BAD_INPUT, "VAL-0403"),
    "no entity": Bad(frankie_says(404, "VAL-0404", "Not Found"), Kind.BAD_INPUT, "VAL-0404", "entity not found"),
    "no entity as 400": Bad(frankie_says(400, "VAL-0404", "Not Found"), Kind.BAD_INPUT, None, "entity not found"),
    "404": Bad(answer(404, HTML), Kind.BAD_INPUT, None, "entity not found"),
    "422": Bad(frankie_says(422, "VAL-0422", "x", ("country", "bad")), Kind.BAD_INPUT, "VAL-0422", "country: bad"),
    "issues instead of details that are no list": Bad(answer(400, {"details": "x"}), Kind.BAD_INPUT),
    "409": Bad(frankie_says(409, "API-0409", "Conflict."), Kind.CONFLICT, "API-0409", "Conflict."),
    "VAL-0409": Bad(frankie_says(400, "VAL-0409", "Conflict."), Kind.CONFLICT),
    "429": Bad(frankie_says(429, "API-0429", "Too Many Requests"), Kind.RATE_LIMITED),
    "418": Bad(answer(418), Kind.BAD_INPUT),
    "a temporary number as 400": Bad(frankie_says(400, "API-0123", "x"), Kind.BAD_INPUT),
    "500": Bad(frankie_says(500, "SYS-500", "Internal"), Kind.TRANSIENT, "SYS-500", "Internal"),
    "500 with a temporary number": Bad(frankie_says(500, "CODE-0007", "x"), Kind.TRANSIENT),
    "502": Bad(answer(502, HTML), Kind.TRANSIENT),
    "503": Bad(frankie_says(503, "SYS-0503", "Service Unavailable"), Kind.TRANSIENT),
    "504": Bad(answer(504), Kind.TRANSIENT),
    "507": Bad(answer(507), Kind.TRANSIENT),
    "408": Bad(answer(408), Kind.TRANSIENT),
    "redirect": Bad(answer(301, location="https://frankie.one/"), Kind.AUTH),
    "html": Bad(answer(200, HTML), Kind.TRANSIENT, None, "not JSON"),
    "no token": Bad(answer(200, {**FRANKIE_OPENED, "token": ""}), Kind.TRANSIENT, None, "no token"),
    "a code that is none": Bad(frankie_says(400, "whatever", "x"), Kind.BAD_INPUT),
    "a code that is an object": Bad(answer(400, {"errorCode": {"a": 1}, "errorMsg": ["x"]}), Kind.BAD_INPUT),
}

FAKE_BAD = {
    "429": Bad(answer(429), Kind.RATE_LIMITED),
    "401": Bad(answer(401), Kind.AUTH),
    "402": Bad(answer(402), Kind.OUT_OF_CREDIT),
    "400": Bad(answer(400), Kind.BAD_INPUT),
    "409": Bad(answer(409), Kind.CONFLICT),
    "500": Bad(answer(500), Kind.TRANSIENT),
    "html": Bad(answer(200, HTML), Kind.UNKNOWN),
}


def _fake(**settings: Any) -> FakeProvider:
    changing = isinstance(settings.get("api_key"), PlainSecret)
    return FakeProvider(reloads=[True] if changing else [])


ENDPOINTS = {
    "idenfy-kyc": Endpoint(
        make=lambda **settings: IdenfyKyc(idenfy_account(**settings)),
        opened=answer(201, IDENFY_OPENED),
        token=str(IDENFY_OPENED["authToken"]),
        reference=str(IDENFY_OPENED["scanRef"]),
        lives=timedelta(days=3),
        bad=IDENFY_BAD,
        broken_after_sending=Kind.UNKNOWN,
        repeatable=False,
    ),
    "frankieone-v2": Endpoint(
        make=lambda **settings: FrankieOneV2(frankie_account(**settings)),
        opened=answer(200, FRANKIE_OPENED),
        token=str(FRANKIE_OPENED["token"]),
        reference="7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77",
        lives=timedelta(hours=1, minutes=30),
        bad=FRANKIE_BAD,
        broken_after_sending=Kind.TRANSIENT,  # the same token comes back: there is nothing to find out
        repeatable=True,
    ),
    "fake": Endpoint(
        make=_fake,
        opened=FakeHttp().session(1),
        token="token-00000001",
        reference="session-1",
        lives=timedelta(days=7),
        bad=FAKE_BAD,
        broken_after_sending=Kind.UNKNOWN,
        repeatable=False,
    ),
}
ANSWERS = [(name, case) for name, endpoint in ENDPOINTS.items() for case in endpoint.bad]
