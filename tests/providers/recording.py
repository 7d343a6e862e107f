"""Cassettes: the bytes of a call as they were on the wire, without secrets, wherever they were recorded.

Requests are rewritten to the provider's production host before they are recorded and before they are looked
up, so that a cassette replays for every base_url and port.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vcr
import yaml
from vcr.request import Request

from worker.endings import Kind
from worker.providers.contract import Provider
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyc import IdenfyKyc
from worker.sandbox.faults import Fault
from worker.sessions import SessionRequest

from .accounts import ENTITY, frankie_account, idenfy_account, request

CASSETTES = Path(__file__).parent / "cassettes"
SCRUBBED = "SCRUBBED"
SCRUBBED_HEADERS = ("authorization", "api_key", "X-Frankie-CustomerID", "X-Frankie-CustomerChildID")
# Fields of answers that hold a secret, a code or an id of the account that was recorded from.
SCRUBBED_FIELDS = frozenset({"authToken", "token", "digitString", "applicantId", "requestId", "scanRef", "redirectUrl"})
KEPT_HEADERS = frozenset({"content-type", "retry-after", "location", "allow"})
HOSTS = (
    (re.compile(r"https?://[^/]+/idenfy/|https://ivs\.idenfy\.com/"), "https://ivs.idenfy.com/"),
    (re.compile(r"https?://[^/]+/frankieone/|https://api(\.uat)?\.frankie\.one/"), "https://api.frankie.one/"),
)
ENTITY_IN_PATH = re.compile(r"(/v2/individuals/)[0-9a-fA-F-]{36}/")


@dataclass(frozen=True)
class Case:
    """One recorded call (or several alike). `real`: can be recorded against a provider's test account too."""

    endpoint: str
    name: str
    kind: Kind | None = None  # None: a session is opened
    sandbox: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    asked: SessionRequest = field(default_factory=request)
    calls: int = 1
    bad_key: bool = False
    real: bool = False

    @property
    def path(self) -> Path:
        return CASSETTES / self.endpoint / f"{self.name}.yaml"

    def provider(self, **settings: Any) -> Provider:
        if self.endpoint == "idenfy-kyc":
            return IdenfyKyc(idenfy_account(**{**self.account, **settings}))
        return FrankieOneV2(frankie_account(**{**self.account, **settings}))


def _fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"faults": (Fault(kind, 1.0, **more),)}


EVERYTHING = request(
    {
        "sessionLength": 1200,
        "country": ["IE", "GB"],
        "documents": ["PASSPORT", "DRIVER_LICENSE"],
        "additionalData.utility.town": "Kaunas",
        "questionnaire": None,
        "checkLiveness": True,
        "callbackUrl": "https://hooks.lender.test/idenfy",
    },
    locale="lt",
)
MUCH = request({"country": "NZL", "documentType": "PASSPORT", "vendorParameters.theme": "dark", "products": ["idv"]})
CASES = (
    Case("idenfy-kyc", "created-201", real=True),
    Case("idenfy-kyc", "created-with-everything-201", account={"prefill": "all"}, asked=EVERYTHING),
    Case("idenfy-kyc", "digit-string-201", asked=request({"generateDigitString": True})),
    Case("idenfy-kyc", "bad-key-401", Kind.AUTH, bad_key=True, real=True),
    Case("idenfy-kyc", "bad-value-400", Kind.BAD_INPUT, account={"unchecked": {"sessionLength": 5}}, real=True),
    Case("idenfy-kyc", "token-limit-400", Kind.OUT_OF_CREDIT, {"credits": 0}),
    Case("idenfy-kyc", "no-funds-402", Kind.OUT_OF_CREDIT, _fault("402")),
    Case("idenfy-kyc", "too-many-400", Kind.RATE_LIMITED, _fault("400-too-many")),
    Case("idenfy-kyc", "too-many-429", Kind.RATE_LIMITED, _fault("429", retry_after="1")),
    Case("idenfy-kyc", "second-session-409", Kind.CONFLICT, {"conflict": True}, calls=2),
    Case("idenfy-kyc", "error-500", Kind.TRANSIENT, _fault("500")),
    Case("idenfy-kyc", "gateway-502", Kind.UNKNOWN, _fault("502")),
    Case("idenfy-kyc", "html-200", Kind.UNKNOWN, _fault("html")),
    Case("idenfy-kyc", "redirect-307", Kind.AUTH, _fault("redirect")),
    Case("frankieone-v2", "created-200", real=True),
    Case("frankieone-v2", "created-with-much-200", account={"channel": "api"}, asked=MUCH),
    Case("frankieone-v2", "same-token-again-200", calls=2, real=True),
    Case("frankieone-v2", "bad-key-401", Kind.AUTH, bad_key=True, real=True),
    Case("frankieone-v2", "bad-country-400", Kind.BAD_INPUT, account={"unchecked": {"country": "XX"}}, real=True),
    Case("frankieone-v2", "no-entity-404", Kind.BAD_INPUT, {"frankieone_unknown": frozenset({ENTITY})}),
    Case("frankieone-v2", "too-many-429", Kind.RATE_LIMITED, _fault("429", retry_after="1")),
    Case("frankieone-v2", "error-500", Kind.TRANSIENT, _fault("500")),
    Case("frankieone-v2", "gateway-502", Kind.TRANSIENT, _fault("502")),
    Case("frankieone-v2", "html-200", Kind.TRANSIENT, _fault("html")),
)


class _Commented:
    """YAML that begins by saying what it was recorded from."""

    def __init__(self, source: str) -> None:
        self._source = source

    def serialize(self, cassette: dict[str, Any]) -> str:
        head = f"# Recorded from {self._source} with `make record`; secrets and ids are scrubbed.\n"
        return head + yaml.safe_dump(cassette, sort_keys=True, allow_unicode=False)

    def deserialize(self, text: str) -> Any:
        return yaml.safe_load(text)


def tape(*, source: str = "", mode: str = "none") -> vcr.VCR:
    """A recorder. Mode "none" only replays: a request that is not on the cassette is an error."""
    recorder = vcr.VCR(
        record_mode=mode,
        serializer="commented",
        filter_headers=[(name, SCRUBBED) for name in SCRUBBED_HEADERS],
        before_record_request=_public_request,
        before_record_response=_public_response,
        match_on=["method", "uri", "body", "header_names"],
    )
    recorder.register_serializer("commented", _Commented(source))
    recorder.register_matcher("header_names", _same_header_names)
    return recorder


def _same_header_names(one: Request, other: Request) -> None:
    assert {name.lower() for name in one.headers} == {name.lower() for name in other.headers}
    assert one.headers.get("Content-Type") == other.headers.get("Content-Type")


def _public_request(sent: Request) -> Request:
    for host, production in HOSTS:
        sent.uri = host.sub(production, sent.uri)
    sent.uri = ENTITY_IN_PATH.sub(rf"\g<1>{ENTITY}/", sent.uri)
    return sent


def _public_response(response: dict[str, Any]) -> dict[str, Any]:
    headers = {name: values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS}
    return {**response, "headers": headers, "body": {"string": scrubbed(response["body"].get("string", b""))}}


def scrubbed(body: Any) -> Any:
    """An answer's body without secrets and ids, in whichever form the recorder hands it over."""
    if isinstance(body, str):
        return scrubbed(body.encode()).decode()
    if isinstance(body, bytes):
        try:
            return json.dumps(scrubbed(json.loads(body))).encode()
        except ValueError:
            return body  # a page of HTML, an empty answer
    if isinstance(body, dict):
        return {name: _scrubbed_value(name, value) for name, value in body.items()}
    if isinstance(body, list):
        return [scrubbed(item) for item in body]
    return body


def _scrubbed_value(name: str, value: Any) -> Any:
    if name not in SCRUBBED_FIELDS or value is None:
        return scrubbed(value) if isinstance(value, dict | list) else value
    if name == "redirectUrl":
        return f"https://ivs.idenfy.com/api/v2/redirect?authToken={SCRUBBED}"
    return SCRUBBED
