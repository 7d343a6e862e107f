"""Accounts that receive webhooks, and deliveries as the providers would send them. All data is invented."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from onboarding_testing.accounts import PlainSecret
from onboarding_worker.providers.contract import build_webhook_reader
from onboarding_worker.providers.webhooks.contract import Delivery
from tests.suite.rsa_keys import OURS as PRIVATE

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
KEY, OLD_KEY = "webhook-key-one", "webhook-key-two"
SECRET = "unguessable-segment"
Several = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Webhooks:
    """An account as the configuration gives it."""

    provider: str
    name: str = "kyc-eu"
    webhook_keys: tuple[PlainSecret, ...] = ()
    jwt_key: tuple[PlainSecret, ...] = ()
    webhook_secret: tuple[PlainSecret, ...] = ()
    jwt_audience: str | None = None


def idenfy(provider: str, *keys: str):
    return build_webhook_reader(Webhooks(provider, webhook_keys=tuple(PlainSecret(key) for key in keys or (KEY,))))


def frankie(provider: str = "frankieone-v2", *, secret: Several = SECRET, jwt_key: Several = None, **wanted: Any):
    return build_webhook_reader(
        Webhooks(provider, name="au", webhook_secret=_all_of(secret), jwt_key=_all_of(jwt_key), **wanted)
    )


def _all_of(values: Several) -> tuple[PlainSecret, ...]:
    return tuple(PlainSecret(value) for value in ((values,) if isinstance(values, str) else values or ()))


def hex_hmac(key: str, body: bytes) -> str:
    """HMAC-SHA256 in hex, written from its definition (RFC 2104) without the module that the worker uses."""
    block = key.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + body).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def signed(body: bytes, *, key: str = KEY, event: str | None = None) -> Delivery:
    headers = {"idenfy-signature": hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}
    return Delivery(body, headers if event is None else {**headers, "idenfy-event-type": event})


def read(reader: Any, content: Any, event: str | None = None):
    """The reader's update for a genuine delivery."""
    delivery = signed(json.dumps(content).encode(), event=event)
    assert reader.refuses(delivery, now=NOW) == ""
    return reader.read(delivery)


HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}


def pem(private: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(head: Any = None, claims: Any = (), *, key: Any = PRIVATE, alg: str = "RS256") -> str:
    """Signed by this algorithm, whatever the header says. `head` and `claims`: an object, or the bytes of one."""
    signed = f"{part({'alg': alg} if head is None else head)}.{part(dict(claims) if claims == () else claims)}"
    return f"{signed}.{part(key.sign(signed.encode(), padding.PKCS1v15(), HASHES[alg]))}"


HOSTILE_BODIES = {
    "empty": b"",
    "no object": b"[]",
    "html": b"<html></html>",
    "no UTF-8": b'{"final": "\xff\xfe"}',
    "nan": b'{"finishTime": NaN}',
    "infinity": b'{"finishTime": 1e999}',
    "huge number": b'{"finishTime": ' + b"9" * 5000 + b"}",
    "deep": b'{"a":' * 100_000,
    "deep list": b'{"data":' + b"[" * 100_000,
    "a field twice": b'{"final": false, "final": true}',
    "twice within": b'{"status": {"overall": "DENIED", "overall": "APPROVED"}}',
    "half a pair": b'{"scanRef": "\\ud800", "entityId": "\\udfff", "externalRef": "\\ud800"}',
    "control characters": b'{"scanRef": "a\\u0000b", "clientId": "\\u202e", "function": "\\n"}',
    "too long": b'{"scanRef": "' + b"a" * 5000 + b'"}',
    "too large": b'{"data": "' + b"a" * (1024 * 1024) + b'"}',
}
# Each is used where a text, a number, a boolean or an object is documented.
WRONG = [None, True, False, 0, -1, 1e308, "", "x", [], {}, [[]], {"overall": ["APPROVED"]}]
