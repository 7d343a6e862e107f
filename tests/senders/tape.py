"""Records and replays calls to Twilio. A cassette has no secrets."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vcr
import yaml
from vcr.request import Request

from onboarding_worker.core.model.endings import Kind
from tests.senders.far_side import NUMBER, SERVICE

CASSETTES = Path(__file__).parent / "cassettes" / "twilio"
SCRUBBED = "scrubbed"
PRODUCTION = "https://api.twilio.com"
PUBLIC_ACCOUNT = "AC00000000000000000000000000000001"
ACCOUNT = re.compile(r"AC[0-9a-f]{32}")
HOST = re.compile(r"^https?://[^/]+(/twilio)?(?=/2010-04-01/)")
KEPT_HEADERS = {"content-type", "retry-after"}
LINK = "https://verify.example.com/s?t=t0k3n"
TEXT = f"Example Bank: please confirm your identity: {LINK}"


@dataclass(frozen=True)
class Case:
    """One recorded call. `kind` None: accepted. `real`: Twilio's test credentials give the same for magic numbers."""

    name: str
    kind: Kind | None = None
    to: str = "+37060000001"
    from_: str = NUMBER
    text: str = TEXT
    bad_token: bool = False
    look_up: bool = False  # after it, the texts to the number are listed
    sandbox: dict[str, Any] = field(default_factory=dict)
    real: bool = True

    @property
    def path(self) -> Path:
        return CASSETTES / f"{self.name}.yaml"


CASES = (
    Case("taken-201"),
    Case("service-201", from_=SERVICE, real=False),
    Case("long-201", text="Ž" + TEXT * 5),
    Case("bad-number-400", Kind.BAD_INPUT, to="+15005550001"),
    Case("no-route-400", Kind.BAD_INPUT, to="+15005550002"),
    Case("no-permission-400", Kind.BAD_INPUT, to="+15005550003"),
    Case("opted-out-400", Kind.BAD_INPUT, to="+15005550004"),
    Case("landline-400", Kind.BAD_INPUT, to="+15005550009"),
    Case("not-our-number-400", Kind.AUTH, from_="+15005550007"),
    Case("queue-full-400", Kind.RATE_LIMITED, from_="+15005550008"),
    Case("too-long-400", Kind.BAD_INPUT, text="x" * 1601),
    Case("bad-token-401", Kind.AUTH, bad_token=True, real=False),
    Case("too-many-429", Kind.RATE_LIMITED, sandbox={"fault": "429", "retry_after": "1"}, real=False),
    Case("found-200", look_up=True, real=False),
    Case("service-found-200", from_=SERVICE, look_up=True, real=False),
    Case("error-500", Kind.UNKNOWN, sandbox={"fault": "500"}, real=False),
)


class _Commented:
    """YAML whose first comment names the source of the recording."""

    def __init__(self, source: str) -> None:
        self.source = source

    def serialize(self, cassette: Any) -> str:
        return f"# Recorded from {self.source}.\n" + yaml.dump(cassette, Dumper=yaml.SafeDumper)

    def deserialize(self, text: str) -> Any:
        return yaml.safe_load(text)


def tape(source: str = "", mode: str = "none") -> vcr.VCR:
    """A recorder. Mode "none" only replays: a request that is not on the cassette is an error."""
    recorder = vcr.VCR(
        record_mode=mode,
        serializer="commented",
        filter_headers=[("Authorization", SCRUBBED)],
        before_record_request=_public_request,
        before_record_response=_public_response,
        match_on=["method", "uri", "body"],
    )
    recorder.register_serializer("commented", _Commented(source))
    return recorder


def _public_request(sent: Request) -> Request:
    sent.uri = ACCOUNT.sub(PUBLIC_ACCOUNT, HOST.sub(PRODUCTION, sent.uri))
    return sent


def _public_response(response: dict[str, Any]) -> dict[str, Any]:
    headers = {name: values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS}
    body = response["body"].get("string", b"")
    text = body.decode() if isinstance(body, bytes) else body
    return {**response, "headers": headers, "body": {"string": ACCOUNT.sub(PUBLIC_ACCOUNT, text).encode()}}
