"""Cassettes: the bytes of recorded calls, without secrets.

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

from onboarding_sandbox.faults import Fault
from onboarding_testing.accounts import ENTITY, PlainSecret, company_request, request
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.http_messages import HttpRequest
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.providers.contract import Provider, build_provider
from tests.providers.accounts import FRANKIE_CUSTOMER
from tests.providers.endpoints import HOSTED, KYB, KYC, OPENAPI, V1, V2

CASSETTES = Path(__file__).parent / "cassettes"
SCRUBBED = "SCRUBBED"
SCRUBBED_HEADERS = ("authorization", "api_key", "X-Frankie-CustomerID", "X-Frankie-CustomerChildID")
# Fields of answers that have a secret, a code or an id of the recorded account.
REDIRECT = f"https://ivs.idenfy.com/api/v2/redirect?authToken={SCRUBBED}"
LINKS = {"redirectUrl": REDIRECT, "sessionUrl": REDIRECT, "url": f"https://hosted.frankieone.example/s?id={SCRUBBED}"}
SCRUBBED_FIELDS = frozenset(
    ["authToken", "tokenString", "token", "digitString", "applicantId", "requestId", "scanRef", "entityId", *LINKS]
)
KEPT_HEADERS = frozenset({"content-type", "retry-after", "location", "allow"})
HOSTS = (
    (re.compile(r"https?://[^/]+/idenfy/|https://ivs\.idenfy\.com/"), "https://ivs.idenfy.com/"),
    (re.compile(r"https?://[^/]+/frankieone/|https://api(\.uat)?\.frankie\.one/"), "https://api.frankie.one/"),
)
ENTITY_IN_PATH = re.compile(r"(/v2/individuals/)[0-9a-fA-F-]{36}/")
ENTITY_IN_BODY = re.compile(rb'("entityId":")[^"]*')

ADAPTERS = {
    "idenfy-kyc": KYC,
    "idenfy-kyc-openapi": OPENAPI,
    "idenfy-kyb": KYB,
    "frankieone-v1": V1,
    "frankieone-v2": V2,
    "frankieone-hosted": HOSTED,
}


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
    look_up: bool = False  # after those calls, the customer's sessions are listed
    real: bool = False

    @property
    def path(self) -> Path:
        return CASSETTES / self.endpoint / f"{self.name}.yaml"

    @property
    def family(self) -> str:
        """The provider: it decides the credentials and the path in the sandbox."""
        return self.endpoint.partition("-")[0]

    def credentials(self, *given: str) -> dict[str, PlainSecret]:
        """What the call is made with. `given`: the key, and the account's second secret; else the sandbox's."""
        second, of_sandbox = ("api_secret", "sandbox-secret")
        if self.family == "frankieone":
            second, of_sandbox = ("customer_id", FRANKIE_CUSTOMER)
        key, value = given or ("sandbox-key", of_sandbox)
        return {"api_key": PlainSecret("not-the-key" if self.bad_key else key), second: PlainSecret(value)}

    def requests(self, provider: Provider, asked: SessionRequest) -> list[HttpRequest]:
        """Of its calls, in order."""
        listing = [provider.look_up(asked, page=1)] if self.look_up else []
        return [*(provider.build(asked) for _ in range(self.calls)), *filter(None, listing)]

    def provider(self, **settings: Any) -> Provider:
        return build_provider(ADAPTERS[self.endpoint].account(**{**self.account, **settings}))


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
NESTED = request(
    {
        "sessionLength": 1200,
        "allowedCountries": ["IE", "GB"],
        "allowedDocuments": ["PASSPORT"],
        "settings.verifyEmail": True,
        "urls.webhookUrl": "https://hooks.lender.test/idenfy",
        "questionnaire": None,
        "generateDigitString": True,
    },
    locale="lt",
)
COMPANY = company_request()
TAGGED = company_request(
    {"flow": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "questionnaireRequired": False, "scanRefs": ["a1c3e5f7"]},
    locale="lt-LT",
    tags=("q3-import", "vip"),
)
NEW = request(entity_id="", consent=True)
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
    Case("idenfy-kyc", "listing-200", calls=2, look_up=True),
    Case("idenfy-kyc", "listing-empty-200", calls=0, look_up=True, real=True),
    Case("idenfy-kyc", "listing-bad-key-401", Kind.AUTH, calls=0, look_up=True, bad_key=True, real=True),
    Case("idenfy-kyc-openapi", "listing-200", look_up=True),
    Case("idenfy-kyc-openapi", "created-201", real=True),
    Case("idenfy-kyc-openapi", "created-with-everything-201", account={"prefill": "all"}, asked=NESTED),
    Case("idenfy-kyc-openapi", "bad-key-401", Kind.AUTH, bad_key=True, real=True),
    Case("idenfy-kyc-openapi", "bad-value-400", Kind.BAD_INPUT, account={"unchecked": {"settings.verifyEmail": 5}}),
    Case("idenfy-kyc-openapi", "mixed-forms-400", Kind.BAD_INPUT, account={"unchecked": {"expiryTime": 600}}),
    Case("idenfy-kyc-openapi", "second-session-409", Kind.CONFLICT, {"conflict": True}, calls=2),
    Case("idenfy-kyc-openapi", "too-many-400", Kind.RATE_LIMITED, _fault("400-too-many")),
    Case("idenfy-kyc-openapi", "expired-201", Kind.UNKNOWN, _fault("past-expiry")),
    Case("idenfy-kyb", "created-201", asked=COMPANY, real=True),
    Case("idenfy-kyb", "created-with-much-201", asked=TAGGED),
    Case("idenfy-kyb", "bad-key-401", Kind.AUTH, asked=COMPANY, bad_key=True, real=True),
    Case(
        "idenfy-kyb", "bad-fields-400", Kind.BAD_INPUT, account={"unchecked": {"flow": "x"}}, asked=COMPANY, real=True
    ),
    Case("idenfy-kyb", "no-funds-402", Kind.OUT_OF_CREDIT, _fault("402"), asked=COMPANY),
    Case("idenfy-kyb", "too-many-429", Kind.RATE_LIMITED, _fault("429", retry_after="1"), asked=COMPANY),
    Case("idenfy-kyb", "error-500", Kind.TRANSIENT, _fault("500"), asked=COMPANY),
    Case("idenfy-kyb", "gateway-502", Kind.UNKNOWN, _fault("502"), asked=COMPANY),
    Case("frankieone-v1", "created-200", asked=NEW),
    Case("frankieone-v1", "created-with-everything-200", account={"prefill": "all"}, asked=NEW),
    Case("frankieone-v1", "another-token-200", calls=2, real=True),
    Case("frankieone-v1", "bad-key-401", Kind.AUTH, bad_key=True, real=True),
    Case("frankieone-v1", "bad-type-400", Kind.BAD_INPUT, account={"unchecked": {"entity.gender": 5}}, real=True),
    Case("frankieone-v1", "no-entity-404", Kind.BAD_INPUT, {"frankieone_unknown": frozenset({ENTITY})}),
    Case("frankieone-v1", "too-many-429", Kind.RATE_LIMITED, _fault("429", retry_after="1")),
    Case("frankieone-v1", "error-500", Kind.TRANSIENT, _fault("500")),
    Case("frankieone-v1", "error-500-new-entity", Kind.UNKNOWN, _fault("500"), asked=NEW),
    Case("frankieone-hosted", "new-customer-200", asked=NEW),
    Case("frankieone-hosted", "no-entity-404", Kind.BAD_INPUT, {"frankieone_unknown": frozenset({ENTITY})}),
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
    """YAML whose first comment names the source of the recording."""

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
    if isinstance(sent.body, bytes):
        sent.body = ENTITY_IN_BODY.sub(rb"\g<1>" + ENTITY.encode(), sent.body)
    return sent


def _public_response(response: dict[str, Any]) -> dict[str, Any]:
    headers = {name: values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS}
    return {**response, "headers": headers, "body": {"string": scrubbed(response["body"].get("string", b""))}}


def scrubbed(body: Any) -> Any:
    """An answer's body without secrets and ids, in any form of the recorder."""
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
    if name in LINKS:
        return LINKS[name]
    if name == "entityId":
        return ENTITY  # as in the request: the answer must name the entity that was sent
    return SCRUBBED
