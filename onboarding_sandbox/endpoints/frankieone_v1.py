"""Simulates FrankieOne v1: the token call, which creates or updates its entity.

Source: the provider's page "Retrieve a token to use with a check", and its v1 pages on errors and entities. Every
call gives a new token; a call without an entityId creates one more entity.
"""

import secrets
from copy import deepcopy
from datetime import datetime
from typing import Any
from uuid import uuid4

from onboarding_sandbox.endpoints.frankieone import (
    VENDOR,
    FrankieOne,
    date_time,
    issue_at,
    read_body,
    ulid,
    unknown_choices,
)
from onboarding_sandbox.endpoints.frankieone_v1_shape import REQUEST, wrong_types
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import FRANKIEONE_V1, Answer, Call, read_object, text_or_none


def _error(status: int, code: str, message: str, issues: list[dict[str, str]], now: datetime) -> Answer:
    """An error in the form of this API family: its issues are not called details."""
    request_id = ulid(now)
    body = {
        "commit": "sandbox",
        "errorCode": code,
        "errorMsg": message,
        "httpStatusCode": status,
        "issues": issues,
        "requestId": request_id,
    }
    return Answer(status, body, reference=request_id)


class IdvalidateToken(FrankieOne):
    """POST /idv/v2/idvalidate/token: the path says v2, the API family is the first."""

    name = FRANKIEONE_V1
    error = staticmethod(_error)
    route = "/frankieone/idv/v2/idvalidate/token"

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self.entities: dict[str, dict[str, Any]] = {}  # by entityId, as last sent

    def reset(self) -> None:
        self.entities.clear()

    def client(self, call: Call) -> str | None:
        """The caller's own id for the person, if the call has one; else the entity's."""
        entity = read_object(call.body).get("entity")
        return _client(entity) if isinstance(entity, dict) else None

    def answer(self, call: Call) -> Answer:
        body, issues = read_body(call)
        issues += _issues(body)
        if issues:
            return self.wrong(issues, call)
        given = body.get("entity", {})
        entity_id = given.get("entityId") or str(uuid4())
        if entity_id.lower() in self._unknown:
            issue = {"issue": "Entity not found.", "issueLocation": "entity.entityId"}
            return self.error(404, "VAL-0404", "Not Found", [issue], call.now)
        entity = self.entities[entity_id] = {**deepcopy(given), "entityId": entity_id}
        token = secrets.token_hex(20)
        expires_at = call.now + self._options.frankieone_lifetime
        printed = {
            "applicantId": body.get("applicantId") or secrets.token_hex(10),
            "entity": entity,
            "provider": VENDOR,
            "sms_sent": self._options.frankieone_sms_sent,
            "token": token,
            "tokenExpiry": date_time(expires_at),
            # As in the page's sample: an address without a scheme.
            "vendorParameters": {"tokenURL": "verify.sandbox.example"},
        }
        printed.update({name: body[name] for name in ("country", "documentType") if name in body})
        return Answer(200, printed, processed=True, client=_client(entity), reference=entity_id, token=token)


def _client(entity: dict[str, Any]) -> str | None:
    pairs = entity.get("extraData")
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict) and pair.get("kvpKey") == "customer_reference":
            return text_or_none(pair.get("kvpValue"))
    return text_or_none(entity.get("entityId"))


def _issues(body: dict[str, Any]) -> list[dict[str, str]]:
    """The errors: wrong types, and unknown values of the two fields whose choices the page lists."""
    found = [
        issue_at(place, f"{place} in body must be of type {kind}") for place, kind in wrong_types(body, REQUEST, "")
    ]
    return found + unknown_choices(body)
