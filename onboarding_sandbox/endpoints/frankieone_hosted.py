"""Simulates FrankieOne v2: the address of a page at FrankieOne for one person.

Source: the provider's page on hosted OneSDK addresses, and public clients. Every call makes a new address. A call with
our own id of a customer finds that customer's entity, or creates it.
"""

import secrets
from datetime import timedelta
from typing import Any
from uuid import uuid4

from onboarding_sandbox.endpoints.frankieone import (
    FrankieOne,
    Shape,
    date_time,
    is_uuid,
    issue_at,
    members,
    read_body,
    ulid,
    wrong_lists,
    wrong_types,
)
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import FRANKIEONE_HOSTED, Answer, Call, read_object, text_or_none

HOST = "hosted.frankieone.example"
LONGEST = timedelta(days=7)
REQUEST: dict[str, Shape] = {
    **members("entityId customerRef oneSDKFlowId successRedirectURL errorRedirectURL applicationRef"),
    **members("consent sendSMS", bool),
}
LISTS = ("requestedDocuments", "optionalDocuments", "partialDocuments")
REDIRECTS = ("successRedirectURL", "errorRedirectURL")


class HostedUrl(FrankieOne):
    """POST /v2/individuals/hostedurl, in either spelling."""

    name = FRANKIEONE_HOSTED
    route = "/frankieone/v2/individuals/{spelling:hosted[uU]rl}"

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self.entities: dict[str, str] = {}  # the entity's id by customerRef

    def reset(self) -> None:
        self.entities.clear()

    def client(self, call: Call) -> str | None:
        body = read_object(call.body)
        return text_or_none(body.get("customerRef") or body.get("entityId"))

    def answer(self, call: Call) -> Answer:
        body, issues = read_body(call)
        issues += _issues(body)
        if issues:
            return self.wrong(issues, call)
        if any(not str(body.get(name, "https://")).startswith("https://") for name in REDIRECTS):
            return self.error(403, "API-0403", "Forbidden", [issue_at("redirect", "only https is allowed")], call.now)
        given = body.get("entityId")
        if given and given.lower() in self._unknown:
            return self.error(404, "VAL-0404", "Not Found", [issue_at("entityId", "Entity not found.")], call.now)
        entity = given or self.entities.setdefault(body["customerRef"], str(uuid4()))
        url = f"https://{HOST}/s/{secrets.token_urlsafe(24)}"
        ends = call.now + min(self._options.frankieone_lifetime, LONGEST)
        request_id = ulid(call.now)
        printed = {
            "url": url,
            "urlExpiry": date_time(ends),
            "status": "URL generated; no SMS was requested",
            "entityId": entity,
            "requestId": request_id,
        }
        return Answer(200, printed, processed=True, reference=request_id, token=url)


def _issues(body: dict[str, Any]) -> list[dict[str, str]]:
    found = [*wrong_types(body, REQUEST), *wrong_lists(body, LISTS)]
    if not found and not body.get("entityId") and not body.get("customerRef"):
        found.append(issue_at("entityId", "entityId or customerRef in body is required"))
    if not found and body.get("entityId") and not is_uuid(body["entityId"]):
        found.append(issue_at("entityId", "entityId in body must be of type uuid"))
    return found
