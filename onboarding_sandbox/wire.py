"""The values between the web server and an endpoint: a call in, an answer out, without aiohttp."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

IDENFY_KYC = "idenfy-kyc"
IDENFY_KYC_LIST = "idenfy-kyc-list"
IDENFY_KYB = "idenfy-kyb"
FRANKIEONE_V1 = "frankieone-v1"
FRANKIEONE_V2 = "frankieone-v2"
FRANKIEONE_HOSTED = "frankieone-hosted"
TWILIO = "twilio"
TWILIO_LIST = "twilio-list"
WHATSAPP = "whatsapp:"  # how such an address begins
TWILIO_ACCOUNT = "twilio-account"
SMTP = "smtp"
# Faults, limits and latencies that name no endpoint hold for the identity providers, not for these.
TEXTING = (TWILIO, TWILIO_LIST, TWILIO_ACCOUNT)
HTTP_ENDPOINTS = (
    IDENFY_KYC,
    IDENFY_KYC_LIST,
    IDENFY_KYB,
    FRANKIEONE_V1,
    FRANKIEONE_V2,
    FRANKIEONE_HOSTED,
    *TEXTING,
)
ENDPOINTS = (*HTTP_ENDPOINTS, SMTP)
WEBHOOKS = "webhooks"  # in the log: what the sandbox sent, not what it received
PAGE = "page"  # … and its customers' visits of the worker's page


@dataclass(slots=True, repr=False)
class Call:
    """One request, read completely. `headers` ignores the case of names. `now` is aware UTC."""

    now: datetime
    url: str  # as the caller wrote it, for links to further pages
    headers: Mapping[str, str]
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(slots=True, repr=False)
class Answer:
    """The answer of an endpoint, and the facts for the log."""

    status: int
    body: Mapping[str, Any] | str  # a str is an HTML page
    headers: dict[str, str] = field(default_factory=dict)
    processed: bool = False  # this call created, and charged, a session
    client: str | None = None
    reference: str | None = None
    token: str | None = None

    def encoded(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return text.encode()

    @property
    def content_type(self) -> str:
        return "text/html" if isinstance(self.body, str) else "application/json"


class Endpoint(Protocol):
    """One provider call that the sandbox simulates. A new call is one more class with these members."""

    name: str  # in the log and in `endpoint=`
    family: str  # endpoints of one provider share its rate limit
    method: str
    route: str

    def credential(self, call: Call) -> str | Answer:
        """The credential of the call, for the limits; or the refusal of an unknown one."""

    def client(self, call: Call) -> str | None:
        """The customer of the call, for the log of a call that is not served."""

    def serve(self, call: Call) -> Answer:
        """Check the call and carry it out."""

    def refusal(self, status: int) -> Answer:
        """This provider's answer for a status such as 429 or 500."""

    def reset(self) -> None:
        """Clear all sessions."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Built once: json.loads with this hook would build a decoder for every call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(body: bytes) -> Any:
    """The JSON value. Raises UnicodeDecodeError if the bytes are not UTF-8, ValueError if they are not JSON."""
    text = body.decode("utf-8")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object; an empty one where the body is none."""
    try:
        found = read_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def text_or_none(given: Any) -> str | None:
    """A value that should be a text, and may be anything."""
    return given if isinstance(given, str) else None


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the request's Content-Type is JSON."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"
