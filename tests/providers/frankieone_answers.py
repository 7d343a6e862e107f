"""Answers of FrankieOne's endpoints (providers.md 1.6 and 2.6, and the samples on its pages)."""

import json
from dataclasses import replace
from typing import Any

from onboarding_testing.accounts import HTML, Bad, answer
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.providers.contract import HttpAnswer


def frankie_error(status: int, code: str | None, message: str, *issues: tuple[str, str], **more: Any) -> HttpAnswer:
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
OTHER = "00000000-9c51-4a8e-8f0a-2d1c5e4b9a77"
NOT_SENT = "entityId in the answer is not the one that was sent"
FRANKIE_BAD = {
    "bad entity": Bad(
        frankie_error(
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
        frankie_error(401, "AUTH-0002,", "Unauthorized", ("request", "Invalid Authentication provided.")),
        Kind.AUTH,
        "AUTH-0002",
        "Invalid Authentication provided.",
    ),
    "no key": Bad(frankie_error(401, "AUTH-0401", "Unauthorized"), Kind.AUTH, "AUTH-0401", "Unauthorized"),
    "401 without a body": Bad(answer(401), Kind.AUTH),
    "AUTH as 500": Bad(frankie_error(500, "AUTH-0500", "x"), Kind.AUTH, "AUTH-0500"),
    "AUTH as 400": Bad(frankie_error(400, "AUTH-0001", "x"), Kind.AUTH),
    "403 with AUTH": Bad(frankie_error(403, "AUTH-0403", "Forbidden"), Kind.AUTH),
    "403 without a code": Bad(answer(403, HTML), Kind.AUTH),
    "403 of another kind": Bad(frankie_error(403, "VAL-0403", "http is not allowed"), Kind.BAD_INPUT, "VAL-0403"),
    "no entity": Bad(frankie_error(404, "VAL-0404", "Not Found"), Kind.BAD_INPUT, "VAL-0404", "entity not found"),
    "no entity as 400": Bad(frankie_error(400, "VAL-0404", "Not Found"), Kind.BAD_INPUT, None, "entity not found"),
    "no such address": Bad(answer(404, HTML), Kind.AUTH),
    "no such method": Bad(frankie_error(405, "API-0405", "Method Not Allowed"), Kind.AUTH, "API-0405"),
    "422": Bad(frankie_error(422, "VAL-0422", "x", ("country", "bad")), Kind.BAD_INPUT, "VAL-0422", "country: bad"),
    "issues instead of details that are no list": Bad(answer(400, {"details": "x"}), Kind.BAD_INPUT),
    "409": Bad(frankie_error(409, "API-0409", "Conflict."), Kind.CONFLICT, "API-0409", "Conflict."),
    "VAL-0409": Bad(frankie_error(400, "VAL-0409", "Conflict."), Kind.CONFLICT),
    "429": Bad(frankie_error(429, "API-0429", "Too Many Requests"), Kind.RATE_LIMITED),
    "418": Bad(answer(418), Kind.BAD_INPUT),
    "a temporary number as 400": Bad(frankie_error(400, "API-0123", "x"), Kind.BAD_INPUT),
    "500": Bad(frankie_error(500, "SYS-500", "Internal"), Kind.TRANSIENT, "SYS-500", "Internal"),
    "500 with a temporary number": Bad(frankie_error(500, "CODE-0007", "x"), Kind.TRANSIENT),
    "502": Bad(answer(502, HTML), Kind.TRANSIENT),
    "503": Bad(frankie_error(503, "SYS-0503", "Service Unavailable"), Kind.TRANSIENT),
    "504": Bad(answer(504), Kind.TRANSIENT),
    "507": Bad(answer(507), Kind.TRANSIENT),
    "408": Bad(answer(408), Kind.TRANSIENT),
    "redirect": Bad(answer(301, location="https://frankie.one/"), Kind.AUTH),
    "html": Bad(answer(200, HTML), Kind.TRANSIENT, None, "not JSON"),
    "no token": Bad(answer(200, {**FRANKIE_OPENED, "token": ""}), Kind.TRANSIENT, None, "no token"),
    "a code that is none": Bad(frankie_error(400, "whatever", "x"), Kind.BAD_INPUT),
    "a code that is an object": Bad(answer(400, {"errorCode": {"a": 1}, "errorMsg": ["x"]}), Kind.BAD_INPUT),
}

V1_OPENED = {
    "applicantId": "91be",
    "provider": "OCRLabs",
    "sms_sent": False,
    "token": "v1tok-3381v1tok-3381",
    "tokenExpiry": "2026-11-20T09:00:00Z",
    "vendorParameters": {"tokenURL": "example1.com"},
    "entity": {"entityId": "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77", "entityType": "INDIVIDUAL"},
}


def v1_form(bad: Bad) -> Bad:
    """The same refusal in the first API family, where `details` has the name `issues`."""
    found = json.loads(bad.answer.body) if bad.answer.body.startswith(b"{") else None
    if not isinstance(found, dict) or "details" not in found:
        return bad
    found |= {"issues": found.pop("details"), "httpStatusCode": bad.answer.status, "commit": "1f0c"}
    return replace(bad, answer=HttpAnswer(bad.answer.status, bad.answer.headers, json.dumps(found).encode()))


V2_BAD = FRANKIE_BAD | {
    # No page documents the field.
    "another customer": Bad(answer(200, {**FRANKIE_OPENED, "entityId": OTHER}), Kind.TRANSIENT, None, NOT_SENT)
}
V1_BAD = {name: v1_form(bad) for name, bad in FRANKIE_BAD.items()} | {
    "details instead of issues": FRANKIE_BAD["422"],
    "a token that is a list": Bad(
        answer(200, {**V1_OPENED, "token": ["t"]}), Kind.TRANSIENT, None, "token in the answer is not a string"
    ),
}
V1_KNOWN_BAD = V1_BAD | {
    "no token": Bad(answer(200, {**V1_OPENED, "token": ""}), Kind.TRANSIENT, None, "no token"),
    "another customer": Bad(answer(200, {**V1_OPENED, "entity": {"entityId": OTHER}}), Kind.TRANSIENT, None, NOT_SENT),
    "no customer": Bad(answer(200, {**V1_OPENED, "entity": None}), Kind.TRANSIENT, None, NOT_SENT),
}
# Without an entityId, a call with an unknown outcome may have created an entity.
OUTCOME_UNKNOWN = (
    "500",
    "500 with a temporary number",
    "502",
    "504",
    "507",
    "408",
    "html",
    "no token",
    "a token that is a list",
)
V1_NEW_BAD = {
    name: replace(bad, kind=Kind.UNKNOWN) if name in OUTCOME_UNKNOWN else bad for name, bad in V1_BAD.items()
} | {
    "nothing to find it by": Bad(
        answer(200, {**V1_OPENED, "entity": {}, "applicantId": None}), Kind.UNKNOWN, None, "no entity.entityId"
    )
}

HOSTED_OPENED = {
    "url": "https://hosted.frankieone.example/s/0Jt9vQ2mX7cR4kW8",
    "urlExpiry": "2026-11-27T08:00:00.000Z",
    "status": "URL generated",
    "entityId": "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77",
    "requestId": "01JZX0Q2M7T4N8YB6C3D5F9HKV",
}
HOSTED_BAD = FRANKIE_BAD | {
    "no token": Bad(answer(200, {**HOSTED_OPENED, "url": ""}), Kind.TRANSIENT, None, "no url"),
    "a page elsewhere": Bad(
        answer(200, {**HOSTED_OPENED, "url": "https://phishing.example/s"}), Kind.TRANSIENT, None, "url in the answer"
    ),
    "a page without TLS": Bad(
        answer(200, {**HOSTED_OPENED, "url": "http://hosted.frankieone.example/s"}), Kind.TRANSIENT, None, "url in"
    ),
    "another customer": Bad(answer(200, {**HOSTED_OPENED, "entityId": OTHER}), Kind.TRANSIENT, None, NOT_SENT),
    "no customer": Bad(answer(200, {**HOSTED_OPENED, "entityId": None}), Kind.TRANSIENT, None, NOT_SENT),
}
