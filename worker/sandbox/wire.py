"""What passes between the web server and an endpoint: a call in, an answer out, no aiohttp on either side."""

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
TWILIO = "twilio"
TWILIO_LIST = "twilio-list"
SMTP = "smtp"
# Faults, limits and latencies that name no endpoint are the identity providers', not these.
TEXTING = (TWILIO, TWILIO_LIST)
HTTP_ENDPOINTS = (IDENFY_KYC, IDENFY_KYC_LIST, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2, *TEXTING)
ENDPOINTS = (*HTTP_ENDPOINTS, SMTP)
WEBHOOKS = "webhooks"  # in the log: what was sent, and not received


@dataclass(slots=True, repr=False)
class Call:
    """One request, read whole. `headers` compares names without case. `now` is aware UTC."""

    now: datetime
    url: str  # as the caller wrote it, for links to further pages
    headers: Mapping[str, str]
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(slots=True, repr=False)
class Answer:
    """What the endpoint says, and what the log is to know about it."""

    status: int
    body: Mapping[str, Any] | str  # a str is an HTML page
    headers: dict[str, str] = field(default_factory=dict)
    processed: bool = False  # a session was created, and charged, by this call
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
    """One provider call that the sandbox plays. A further one is one more class with these members."""

    name: str  # in the log and in `endpoint=`
    family: str  # endpoints of one provider share its rate limit
    method: str
    route: str

    def credential(self, call: Call) -> str | Answer:
        """Whose call it is, for the limits; or the refusal of somebody unknown."""

    def client(self, call: Call) -> str | None:
        """The customer that the call is about, for the log of a call that is not served."""

    def serve(self, call: Call) -> Answer:
        """Check the call and do what it asks."""

    def refusal(self, status: int) -> Answer:
        """How this provider words an answer that is about itself, such as 429 or 500."""

    def reset(self) -> None:
        """Forget all sessions."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Built once: handing the hook to json.loads would build a decoder for every call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(body: bytes) -> Any:
    """The JSON value. Raises UnicodeDecodeError for bytes that are not UTF-8, ValueError for what is not JSON."""
    text = body.decode("utf-8")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the request says that its body is JSON."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"
