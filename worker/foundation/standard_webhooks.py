"""Signed webhooks of the Standard Webhooks specification (standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)  # the specification's; an older webhook may be a replay
PREFIX = "whsec_"  # before a key that is written in base64
LONGEST_ID = 200
MOST_SIGNATURES = 10  # one for each key of a sender that rotates


def signature(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature by one key: `v1,` and base64. `timestamp` is in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body
    return "v1," + base64.b64encode(hmac.new(secret(key), signed, hashlib.sha256).digest()).decode("ascii")


def refusal(headers: Mapping[str, str], body: bytes, keys: Iterable[str], *, now: datetime) -> str:
    """Why the webhook is refused; "" if one of the keys signed it. Never raises, and contains no value.

    `headers` has lower-case names; `now` is aware UTC. Signatures of other versions than `v1` are ignored.
    """
    message_id, sent, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not message_id or not sent or not given:
        return "it is not signed"
    if len(message_id) > LONGEST_ID or not (sent.isascii() and sent.isdigit() and len(sent) <= 12):
        return "its id or its time is not valid"
    if abs(now.timestamp() - int(sent)) > TOLERANCE.total_seconds():
        return "its time is too far from now"
    offered = [one.encode("utf-8", "surrogatepass") for one in given.split()[:MOST_SIGNATURES]]
    ours = [signature(key, message_id, int(sent), body).encode() for key in keys]
    # Each with each, so that the time taken does not show which one matches.
    matches = [hmac.compare_digest(one, other) for one in offered for other in ours]
    return "" if any(matches) else "none of our keys made its signature"


def secret(key: str) -> bytes:
    """The bytes that a key signs with: those after `whsec_` if they are base64, else the text itself."""
    if key.startswith(PREFIX):
        try:
            return base64.b64decode(key.removeprefix(PREFIX), validate=True)
        except ValueError:
            pass  # a key of another form that only begins with `whsec_`
    return key.encode()
