"""Signed webhooks of the Standard Webhooks specification (standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

HEADERS = ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)  # the specification's; an older webhook may be a replay
PREFIX = "whsec_"  # before a key that is written in base64
MOST_SIGNATURES = 10  # one for each key of a sender that rotates


def signature(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature by one key: `v1,` and base64. `timestamp` is in Unix seconds."""
    return _signature(key, b"%s.%d.%s" % (_octets(message_id), timestamp, body)).decode("ascii")


def refused_unread(headers: Mapping[str, str], *, now: datetime) -> str:
    """Why the signature cannot be right, whatever the body is; "" if it can be. Never raises, and contains no value.
    `headers` has lower-case names, or is case-insensitive; `now` is aware UTC."""
    if missing := [name for name in HEADERS if not headers.get(name)]:
        return f"the header {missing[0]} is missing"
    timestamp = headers[TIMESTAMP]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return f"{TIMESTAMP} is not in seconds since 1970"
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        return f"{TIMESTAMP} is more than 5 minutes from our time"
    return ""


def signing_key(headers: Mapping[str, str], body: bytes, keys: Iterable[str], *, now: datetime) -> int | str:
    """The index of the key that signed the message, or the reason why none did. Never raises, and contains no value.
    Signatures of other versions than `v1` are ignored. Arguments as for `refused_unread`."""
    if reason := refused_unread(headers, now=now):
        return reason
    signed = b"%s.%s.%s" % (_octets(headers[ID]), headers[TIMESTAMP].encode("ascii"), body)
    # Hashes have the same length whatever was sent.
    offered = [hashlib.sha256(_octets(one)).digest() for one in headers[SIGNATURE].split()[:MOST_SIGNATURES]]
    ours = [hashlib.sha256(_signature(key, signed)).digest() for key in keys]
    # Each key with each signature, also after a match: so the time taken does not show which one matches.
    matches = [any([hmac.compare_digest(one, other) for other in offered]) for one in ours]
    return next((index for index, one in enumerate(matches) if one), "none of our keys made its signature")


def _signature(key: str, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(secret(key), signed, hashlib.sha256))


def _octets(header: str) -> bytes:
    """The bytes as they came: aiohttp keeps bytes that are not UTF-8 as halves of surrogate pairs."""
    try:
        return header.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # another half, which no bytes on the wire become
        return header.encode("utf-8", "surrogatepass")


def secret(key: str) -> bytes:
    """The bytes that a key signs with: those after `whsec_` if they are base64, else the text itself."""
    if key.startswith(PREFIX):
        with suppress(ValueError):  # a key of another form that only begins with `whsec_`
            return base64.b64decode(key.removeprefix(PREFIX), validate=True)
    return key.encode()
