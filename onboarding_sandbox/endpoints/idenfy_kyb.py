"""Simulates iDenfy KYB: the call for a form's token.

Sources: the provider's page "Generate KYB form token", its OpenAPI document of the KYB API for the refusals, and
its framework for the texts about a single field. Each call makes another token; tokens cannot be listed.
"""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from onboarding_sandbox.endpoints.idenfy import IdenfyEndpoint
from onboarding_sandbox.endpoints.idenfy_rules import Allows, Rule, envelope, is_parsed, is_text, iso, or_null
from onboarding_sandbox.wire import IDENFY_KYB, Answer, Call, read_object, text_or_none

DEFAULT_LIFETIME = 3_600  # seconds
LOCALES = ("en", "es", "fr", "ru", "de", "it", "pl", "lt", "lv", "et", "cs", "ro", "hu", "ja", "bg", "nl", "pt")
TOKEN_TYPES = ("FORM", "GOV1", "GOV2")


REQUIRED = ("tokenType", "clientId")


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
    "tokenType": _choice(*TOKEN_TYPES),
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

    name = IDENFY_KYB
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

    def serve(self, call: Call) -> Answer:
        body = self._read(call)
        if not isinstance(body, Answer):
            body = self._open(body, call)
        body.client = self.client(call)
        return body

    def _read(self, call: Call) -> dict[str, Any] | Answer:
        body = self.body_of(call)
        if isinstance(body, Answer):
            return body
        wrong = {name: ["Unknown field."] for name in body if name not in FIELDS}
        wrong |= {name: [rule.text] for name, rule in FIELDS.items() if name in body and not rule.allows(body[name])}
        wrong |= {name: ["This field is required."] for name in REQUIRED if name not in body}
        if wrong:
            return Answer(400, wrong)
        if body["tokenType"] != "FORM":
            # The other two types have a body that is not documented.
            return envelope(400, "VALIDATION_ERROR", "Only form tokens are simulated here.")
        return body

    def _open(self, body: dict[str, Any], call: Call) -> Answer:
        token = secrets.token_hex(20)
        expires_at = call.now + timedelta(seconds=body.get("lifetime", DEFAULT_LIFETIME))
        printed = {
            "tokenType": body["tokenType"],
            "tokenString": token,
            "expiration": iso(expires_at),
            "isActive": True,
            "isValid": True,
            "companyId": None,  # until the company has filled in the form
            "clientId": body["clientId"],
            "externalRef": body.get("externalRef"),
            "locale": body.get("locale", "en"),
            "flow": body.get("flow"),
            "theme": body.get("theme"),
            "tags": body.get("tags", []),
            "scanRefs": body.get("scanRefs"),
        }
        return Answer(201, printed, processed=True, reference=body.get("externalRef"), token=token)
