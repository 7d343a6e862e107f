"""Checks a sender of events: the sender shows one of the keys, or signs with it. Pure.

A signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over the message's id, its time and its
body, so that the key itself never travels.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from worker.foundation.standard_webhooks import HEADERS as SIGNATURE_HEADERS
from worker.foundation.standard_webhooks import TIMESTAMP, refused_unread, signing_key

__all__ = ["SIGNATURE_HEADERS", "Stranger", "bearer", "signature", "signed_at", "signed_recently"]


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
    reason = refused_unread(headers, now=now)
    return Stranger(reason) if reason else None


def signed_at(headers: Mapping[str, str]) -> datetime:
    """When a message was signed, to the second, aware UTC; for a message that `signed_recently` accepts."""
    return datetime.fromtimestamp(int(headers[TIMESTAMP]), UTC)


def signature(headers: Mapping[str, str], body: bytes, keys: Sequence[str], now: datetime) -> int | Stranger:
    """The index of the key that a message was signed with: one of its signatures must be right."""
    found = signing_key(headers, body, keys, now=now)
    return Stranger(found) if isinstance(found, str) else found


def _same(ours: bytes, theirs: bytes) -> bool:
    # Compares hashes, which have the same length whatever was sent.
    return hmac.compare_digest(sha256(ours).digest(), sha256(theirs).digest())


def _which(fits: Sequence[bool]) -> int | None:
    return next((index for index, one in enumerate(fits) if one), None)


def _octets(header: str) -> bytes:
    # The bytes as they came: aiohttp keeps bytes that are not UTF-8 as halves of surrogate pairs.
    return header.encode("utf-8", "surrogateescape")
