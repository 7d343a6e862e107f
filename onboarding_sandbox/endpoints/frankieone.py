"""Simulates FrankieOne v2: the token call for an individual, and the address of a page at FrankieOne for one person.

Sources: the provider's page "Get an IDV Token for the given individual" and its OpenAPI document; its page on hosted
OneSDK addresses, and public clients. While an entity's token is valid, each call gets the same token, whatever the
request contains. Every call for an address makes a new one; with our own id of a customer it finds that customer's
entity, or creates it. Properties that the schema does not name are accepted, as it accepts them. 429 is not documented:
`API-0429`.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from onboarding_sandbox import wire
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import Answer, Call, Endpoint, is_json, is_uuid, read_json, read_object, text_or_none

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The page lists DRIVERS_LICENCE and gives DRIVER_LICENCE as its example.
DOCUMENT_TYPES = ("DRIVERS_LICENCE", "DRIVER_LICENCE", "PASSPORT", "NATIONAL_ID")
ENTITY_TYPES = ("INDIVIDUAL", "ORGANIZATION", "UNKNOWN")

MESSAGES = {
    401: ("AUTH-0002,", "Unauthorized"),
    402: ("API-0402", "Payment Required"),
    403: ("API-0403", "Forbidden"),
    404: ("VAL-0404", "Not Found"),
    405: ("API-0405", "Method Not Allowed"),
    408: ("API-0408", "Request Timeout"),
    429: ("API-0429", "Too Many Requests"),
    500: ("SYS-0500", "Internal Server Error"),
    502: ("SYS-0502", "Bad Gateway"),
    503: ("SYS-0503", "Service Unavailable"),
    504: ("SYS-0504", "Gateway Timeout"),
}


def ulid(now: datetime) -> str:
    """A request id in the provider's form: 26 characters, the first ten are the time."""
    number = int(now.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join([CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5)])


class FrankieOne(Endpoint):
    """What its calls have in common: the log-in, and the form of errors."""

    family = "frankieone"

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._unknown = {entity.lower() for entity in options.frankieone_unknown}

    def error(self, status: int, code: str, message: str, issues: list[dict[str, str]], now: datetime) -> Answer:
        request_id = ulid(now)
        body = {"errorCode": code, "errorMsg": message, "details": issues, "requestId": request_id}
        return Answer(status, body, reference=request_id)

    def not_found(self, place: str, now: datetime) -> Answer:
        """The refusal of an entity that the account does not have."""
        issue = {"issue": "Entity not found.", "issueLocation": place}
        return self.error(404, "VAL-0404", "Not Found", [issue], now)

    def credential(self, call: Call) -> str | Answer:
        key = call.headers.get("api_key")
        if not key:
            return self._unauthorized("AUTH-0401", "No api key provided. Access denied.", call)
        customer = call.headers.get("X-Frankie-CustomerID")
        if key != self._options.frankieone_key or customer != self._options.frankieone_customer:
            # The comma in the code is the provider's own, as printed on its page.
            return self._unauthorized("AUTH-0002,", "Invalid Authentication provided. Access denied.", call)
        return f"{key}/{customer}/{call.headers.get('X-Frankie-CustomerChildID', '')}"

    def _unauthorized(self, code: str, text: str, call: Call) -> Answer:
        return self.error(401, code, "Unauthorized", [{"issue": text, "issueLocation": "request"}], call.now)

    def refusal(self, status: int) -> Answer:
        code, message = MESSAGES[status]
        return self.error(status, code, message, [], self._options.clock())

    def token(self, body: dict[str, Any], sms_sent: str, expires_at: datetime) -> dict[str, Any]:
        """What both families answer with a new token. `sms_sent` is their name of that field."""
        return {
            "applicantId": body.get("applicantId") or secrets.token_hex(10),
            "provider": "sandbox-vendor",
            sms_sent: self._options.frankieone_sms_sent,
            "token": secrets.token_hex(20),
            "tokenExpiry": date_time(expires_at),
            # As in the page's sample: an address without a scheme.
            "vendorParameters": {"tokenURL": "verify.sandbox.example"},
        }

    def wrong(self, issues: list[dict[str, str]], call: Call) -> Answer:
        """The refusal of a call with these errors."""
        return self.error(400, "API-0400,", "Multiple Errors: See Issues list", issues, call.now)


class IndividualToken(FrankieOne):
    """POST /v2/individuals/{entityId}/actions/idv/token."""

    name = wire.FRANKIEONE_V2
    route = "/frankieone/v2/individuals/{entityId}/actions/idv/token"

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self._tokens: dict[str, tuple[datetime, dict[str, Any]]] = {}  # until when, and the answer, by the entity's id

    def reset(self) -> None:
        self._tokens.clear()

    def client(self, call: Call) -> str | None:
        return call.path["entityId"]

    def answer(self, call: Call) -> Answer:
        entity = call.path["entityId"]
        body, issues = read_body(call, REQUEST)
        issues += [*unknown_choices(body), *wrong_lists(body, ("products",))]
        comment = body.get("comment")
        if isinstance(comment, dict) and "commentId" in comment:
            issues.append(issue_at("comment.commentId", "comment.commentId in body is read-only"))
        kind = comment.get("entityType") if isinstance(comment, dict) else None
        if isinstance(kind, str) and kind not in ENTITY_TYPES:
            text = f"comment.entityType must be one of {', '.join(ENTITY_TYPES)}"
            issues.append(issue_at("comment.entityType", text))
        if not is_uuid(entity):
            issues.insert(0, issue_at("entityId", f'entityId in path must be of type uuid: "{entity}"'))
        if issues:
            return self.wrong(issues, call)
        if entity.lower() in self._unknown:
            return self.not_found("entityId", call.now)
        expires_at, held = self._tokens.get(entity.lower()) or (call.now, {})
        if created := call.now >= expires_at:
            expires_at = call.now + self._options.frankieone_lifetime
            # The answer has milliseconds; the stored expiry must be the same.
            expires_at = expires_at.replace(microsecond=expires_at.microsecond // 1000 * 1000)
            held = self.token(body, "smsSent", expires_at)
            held["provider"] = body.get("provider") or held["provider"]
            self._tokens[entity.lower()] = expires_at, held
        request_id = ulid(call.now)
        printed = held | {"requestId": request_id} | chosen(body)
        return Answer(200, printed, processed=created, reference=request_id, token=held["token"])


def date_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def issue_at(place: str, text: str) -> dict[str, str]:
    return {"issue": text, "issueLocation": f"VALIDATE-{place}"}


def read_body(call: Call, shape: "Shape") -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The body, and all errors in it and the headers. The body may be missing: no field is required."""
    channel = call.headers.get("X-Frankie-Channel", "")
    issues = []
    if not re.fullmatch(r"[A-Za-z0-9]*", channel):
        issues.append(issue_at("X-Frankie-Channel", "X-Frankie-Channel in header must be alphanumeric"))
    if not call.body:
        return {}, issues
    if not is_json(call.headers):
        return {}, [*issues, issue_at("body", "Content-Type must be application/json")]
    try:
        body = read_json(call.body)
    except ValueError:
        return {}, [*issues, issue_at("body", "body is not valid JSON")]
    if not isinstance(body, dict):
        return {}, [*issues, issue_at("body", "body must be of type object")]
    return body, [*issues, *wrong_types(body, shape)]


def unknown_choices(body: dict[str, Any]) -> list[dict[str, str]]:
    """Unknown values of the two fields whose choices the provider lists, the same for both API families."""
    found = []
    if isinstance(body.get("country"), str) and body["country"] not in wire.ALPHA_3:
        found.append(issue_at("country", "country in body must be a ISO-3166 alpha-3 code"))
    if isinstance(body.get("documentType"), str) and body["documentType"] not in DOCUMENT_TYPES:
        found.append(issue_at("documentType", f"documentType in body must be one of {', '.join(DOCUMENT_TYPES)}"))
    return found


def chosen(body: dict[str, Any]) -> dict[str, Any]:
    """The two fields of `unknown_choices`, as far as the request has them: the answer repeats them."""
    return {name: body[name] for name in ("country", "documentType") if name in body}


# A type; a list with the shape of its items; or the members of an object. Names that it does not have are accepted.
Shape = type | list["Shape"] | dict[str, "Shape"]
WORDS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def members(names: str, shape: Shape = str) -> dict[str, Shape]:
    """Members of one shape; most are strings."""
    return dict.fromkeys(names.split(), shape)


def wrong_types(value: Any, shape: Shape, at: str = "") -> Iterator[dict[str, str]]:
    """An issue for each part of `value` that does not have the shape."""
    if isinstance(shape, dict) and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape:
                yield from wrong_types(inner, shape[name], f"{at}.{name}" if at else name)
    elif isinstance(shape, list) and isinstance(value, list):
        for place, inner in enumerate(value):
            yield from wrong_types(inner, shape[0], f"{at}.{place}")
    elif isinstance(shape, dict | list):
        yield issue_at(at, f"{at} in body must be of type {'object' if isinstance(shape, dict) else 'array'}")
    elif type(value) is not shape and not (shape is float and type(value) is int):
        yield issue_at(at, f"{at} in body must be of type {WORDS[shape]}")


def wrong_lists(body: dict[str, Any], names: Iterable[str]) -> list[dict[str, str]]:
    return [
        issue_at(name, f"{name} in body must be a list of strings")
        for name in names
        if not isinstance(listed := body.get(name, []), list) or not all(isinstance(one, str) for one in listed)
    ]


# By the schema of the OpenAPI document.
REQUEST: dict[str, Shape] = {
    **members("applicantId applicationId country documentType referrer relayState provider"),
    "vendorParameters": {},
    "comment": members("text entityId entityType"),
}


HOST = "hosted.frankieone.example"
LONGEST = timedelta(days=7)
HOSTED_REQUEST: dict[str, Shape] = {
    **members("entityId customerRef oneSDKFlowId successRedirectURL errorRedirectURL applicationRef"),
    **members("consent sendSMS", bool),
}
LISTS = ("requestedDocuments", "optionalDocuments", "partialDocuments")
REDIRECTS = ("successRedirectURL", "errorRedirectURL")


class HostedUrl(FrankieOne):
    """POST /v2/individuals/hostedurl, in either spelling."""

    name = wire.FRANKIEONE_HOSTED
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
        body, issues = read_body(call, {})
        found = [*wrong_types(body, HOSTED_REQUEST), *wrong_lists(body, LISTS)]
        if not found and not body.get("entityId") and not body.get("customerRef"):
            found = [issue_at("entityId", "entityId or customerRef in body is required")]
        elif not found and body.get("entityId") and not is_uuid(body["entityId"]):
            found = [issue_at("entityId", "entityId in body must be of type uuid")]
        if issues or found:
            return self.wrong([*issues, *found], call)
        if any(not str(body.get(name, "https://")).startswith("https://") for name in REDIRECTS):
            return self.error(403, "API-0403", "Forbidden", [issue_at("redirect", "only https is allowed")], call.now)
        given = body.get("entityId")
        if given and given.lower() in self._unknown:
            return self.not_found("VALIDATE-entityId", call.now)
        url, request_id = f"https://{HOST}/s/{secrets.token_urlsafe(24)}", ulid(call.now)
        printed = {
            "url": url,
            "urlExpiry": date_time(call.now + min(self._options.frankieone_lifetime, LONGEST)),
            "status": "URL generated; no SMS was requested",
            "entityId": given or self.entities.setdefault(body["customerRef"], str(uuid4())),
            "requestId": request_id,
        }
        return Answer(200, printed, processed=True, reference=request_id, token=url)
