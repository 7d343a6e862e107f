"""Signed webhooks of the Standard Webhooks specification (standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)  # the specification's: older ones may be copies that somebody sends again
PREFIX = "whsec_"  # before a key that is written in base64
LONGEST_ID = 200
MOST_SIGNATURES = 10  # one for each key of a sender that rotates


def signature(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """What one key says: `v1,` and base64. `timestamp` is in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body
    return "v1," + base64.b64encode(hmac.new(secret(key), signed, hashlib.sha256).digest()).decode("ascii")


def refusal(headers: Mapping[str, str], body: bytes, keys: Iterable[str], *, now: datetime) -> str:
    """Why the webhook is of none of the keys; "" where it is. Never raises, and names no value.

    `headers` has lower-case names; `now` is aware UTC. Signatures of other versions than `v1` are passed over.
    """
    message_id, sent, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not message_id or not sent or not given:
        return "it is not signed"
    if len(message_id) > LONGEST_ID or not (sent.isascii() and sent.isdigit() and len(sent) <= 12):
        return "its id or time is none"
    if abs(now.timestamp() - int(sent)) > TOLERANCE.total_seconds():
        return "its time is too far from now"
    offered = [one.encode("utf-8", "surrogatepass") for one in given.split()[:MOST_SIGNATURES]]
    ours = [signature(key, message_id, int(sent), body).encode() for key in keys]
    # Each with each, so that the time taken does not say which one fits.
    fits = [hmac.compare_digest(one, other) for one in offered for other in ours]
    return "" if any(fits) else "its signature is of no key of ours"


def secret(key: str) -> bytes:
    """The octets that a key signs with: those behind `whsec_`, where they are base64, else of the text itself."""
    if key.startswith(PREFIX):
        try:
            return base64.b64decode(key.removeprefix(PREFIX), validate=True)
        except ValueError:
            pass  # a key of somebody's own that only begins like one
    return key.encode()
