"""Checks a sender of events: the sender shows one of the keys, or signs with it. Pure.

A signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over the message's id, its time and its
body, so that the key itself never travels.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from worker.foundation.standard_webhooks import ID, MOST_SIGNATURES, SIGNATURE, TIMESTAMP, TOLERANCE, secret

SIGNATURE_HEADERS = (ID, TIMESTAMP, SIGNATURE)


@dataclass(frozen=True)
class Stranger:
    """A sender whose credentials were not accepted. `reason` holds no part of them."""

    reason: str


def bearer(authorization: str, keys: Sequence[str]) -> int | Stranger:
    """Which of the keys an `Authorization` header holds. The time it takes does not depend on which."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return Stranger("the Authorization header is not Bearer")
    found = _which([_same(key.encode(), _octets(given.strip())) for key in keys])
    return found if found is not None else Stranger("the key is none of event_keys")


def signed_recently(headers: Mapping[str, str], now: datetime) -> Stranger | None:
    """Why a signature cannot be right: headers are missing, or its time is past or ahead. To be called before the body
    is read."""
    if missing := [name for name in SIGNATURE_HEADERS if not headers.get(name)]:
        return Stranger(f"a signed event also needs the header {missing[0]}")
    timestamp = headers[TIMESTAMP]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return Stranger("webhook-timestamp is not in seconds since 1970")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        return Stranger("webhook-timestamp is more than 5 minutes from our time")
    return None


def signed_at(headers: Mapping[str, str]) -> datetime:
    """When a message was signed, to the second, aware UTC; for a message that `signed_recently` accepts."""
    return datetime.fromtimestamp(int(headers[TIMESTAMP]), UTC)


def signature(headers: Mapping[str, str], body: bytes, keys: Sequence[str], now: datetime) -> int | Stranger:
    """The index of the key that a message was signed with: one of its signatures must be right."""
    if stranger := signed_recently(headers, now):
        return stranger
    signed = b"%s.%s.%s" % (_octets(headers[ID]), _octets(headers[TIMESTAMP]), body)
    given = [_octets(one) for one in headers[SIGNATURE].split()[:MOST_SIGNATURES]]
    expected = [b"v1," + b64encode(hmac.digest(secret(key), signed, sha256)) for key in keys]
    # Each signature is compared with each key, also after a match.
    found = _which([any([_same(ours, theirs) for theirs in given]) for ours in expected])
    return found if found is not None else Stranger("no signature fits")


def _same(ours: bytes, theirs: bytes) -> bool:
    # Compares hashes, which have the same length whatever was sent.
    return hmac.compare_digest(sha256(ours).digest(), sha256(theirs).digest())


def _which(fits: Sequence[bool]) -> int | None:
    return next((index for index, one in enumerate(fits) if one), None)


def _octets(header: str) -> bytes:
    # The bytes as they came: aiohttp keeps bytes that are not UTF-8 as halves of surrogate pairs.
    return header.encode("utf-8", "surrogateescape")
